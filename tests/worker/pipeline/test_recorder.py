"""What the recorder writes about a settlement that the store could not apply."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import LogCapture

from sendwindow.vocabulary import Reason, Stage
from tests.support.no_metrics import NoMetrics
from worker.pipeline.attempt import Conclusion
from worker.pipeline.recorder import Observers, Recorder
from worker.ports.claims import ClaimBatch
from worker.ports.settlements import Result, SettleAccepted, Settled, SettleEnd, Settlement
from worker.telemetry.journal import Journal


class Counting(NoMetrics):
    """Remembers the stages that messages were counted at."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def settled(self, stage: Stage, reason: Reason) -> None:
        """Remember a stage."""
        self.stages.append(stage)


@pytest.mark.parametrize(
    ("result", "told"),
    [
        (SettleAccepted("SM1", "queued"), {"reason": "accepted", "code": None, "sid": "SM1"}),
        (
            SettleEnd(Stage.FAILED, Reason.PROVIDER_REFUSED, code=21610),
            {"reason": "provider_refused", "code": 21610, "sid": None},
        ),
    ],
    ids=["accepted", "refused"],
)
def test_a_result_whose_message_is_gone_is_an_error_and_no_end(
    tmp_path: Path, result: Result, told: dict[str, object]
) -> None:
    """A result whose message is gone is logged as an event of its own, with all that the worker
    knows. No stage is counted or journaled for it.
    """
    capture, metrics, journal = LogCapture(), Counting(), Journal(tmp_path / "j", "w1")
    log = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    recorder = Recorder(Observers(journal, metrics, log))
    settlement = Settlement("m1", 7, 2, result, "digest", "shop", "main", posted=True)
    end = Conclusion(settlement, post_seconds=0.1)
    recorder.settled(end, Settled(applied=False, stage=None))
    journal.close()
    (line,) = [json.loads(text) for text in (tmp_path / "j").read_text().splitlines()]
    assert line == line | {"e": "unrecorded", "id": "m1", "attempt": 2, **told}
    assert "stage" not in line
    (entry,) = capture.entries
    assert (
        entry.items()
        >= {
            "event": "unrecorded",
            "log_level": "error",
            "message_id": "m1",
            "attempt": 2,
            **told,
        }.items()
    )
    assert metrics.stages == []


def test_a_reply_that_the_store_knows_as_anothers_is_told_as_unproven(tmp_path: Path) -> None:
    """If the store makes a reply `unknown`, log and journal give the reason, not an acceptance."""
    capture, journal = LogCapture(), Journal(tmp_path / "j", "w1")
    log = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    settlement = Settlement(
        "m1", 7, 1, SettleAccepted("SM1", "queued"), "digest", "shop", "main", posted=True
    )
    settled = Settled(applied=True, stage=Stage.UNKNOWN)
    Recorder(Observers(journal, NoMetrics(), log)).settled(
        Conclusion(settlement, post_seconds=0.1), settled
    )
    journal.close()
    told = {"stage": "unknown", "reason": "outcome_unreadable"}
    assert json.loads((tmp_path / "j").read_text()).items() >= {"e": "settled", **told}.items()
    assert [(entry["stage"], entry["reason"]) for entry in capture.entries] == [
        ("unknown", "outcome_unreadable")
    ]


def test_a_copy_is_one_warning_with_the_id_alone(tmp_path: Path) -> None:
    """A copy is one warning that holds only the message id.

    A broken promise P3 must not show in a counter alone.
    """
    capture, journal = LogCapture(), Journal(tmp_path / "j", "w1")
    log = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    recorder = Recorder(Observers(journal, NoMetrics(), log))
    settlement = Settlement(
        "m1", 7, 2, SettleAccepted("SM2", "queued"), "digest", "shop", "main", posted=True
    )
    for has_copy in (True, False):
        end = Conclusion(settlement, post_seconds=0.1)
        recorder.settled(end, Settled(True, Stage.ACCEPTED, has_copy))
    journal.close()
    warnings = [entry for entry in capture.entries if entry["log_level"] == "warning"]
    assert warnings == [{"event": "duplicate", "log_level": "warning", "message_id": "m1"}]


def test_a_message_left_to_a_newer_version_is_one_warning_with_the_remedy(tmp_path: Path) -> None:
    """A message left to a newer version is one warning, which tells the operator which workers
    are missing.
    """
    capture, journal = LogCapture(), Journal(tmp_path / "j", "w1")
    log = structlog.wrap_logger(
        None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
    )
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    batch = ClaimBatch((), now, None, in_unknown_stage=("m1",))
    Recorder(Observers(journal, NoMetrics(), log)).claimed(batch, open_posts=0, held=0)
    journal.close()
    remedy = "run workers of the version that wrote it"
    assert capture.entries == [
        {"event": "unknown_stage", "log_level": "warning", "message_id": "m1", "remedy": remedy}
    ]
