"""What the catalogue's errors teach, as far as it holds for all of them."""

from tests.worker.shipped import rules
from worker.effects import effects_of
from worker.values.effects import PauseAccount, PauseSender, SuppressAddress


def test_a_pause_without_a_term_lasts_until_a_person_ends_it() -> None:
    """No entry of the catalogue pauses for zero seconds: that would pause nothing."""
    for entry in rules().errors.entries.values():
        for effect in effects_of(entry):
            if isinstance(effect, PauseSender | PauseAccount | SuppressAddress):
                assert effect.seconds > 0
