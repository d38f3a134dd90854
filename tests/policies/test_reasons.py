"""Every reason has a sentence for people."""

import pytest

from policies import reasons
from sendwindow.vocabulary import Reason


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_one_sentence(reason: Reason) -> None:
    """Every reason is in exactly one group and has one whole sentence."""
    found = [group[reason] for group in reasons.GROUPS.values() if reason in group]
    assert len(found) == 1
    assert found[0].endswith(".")
    assert reasons.sentence(reason.value) == found[0]


def test_a_reason_of_a_newer_version_stays_as_it_is() -> None:
    """A reason that a newer worker wrote can still be shown."""
    assert reasons.sentence("moon_phase") == "moon_phase"
