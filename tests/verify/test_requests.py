"""`verify` finds requests that hold what Twilio does not read."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.depth import examples
from tests.support.verify_run import Run, rules
from verify.judge import verify


def test_an_unknown_parameter_breaks_the_promise_on_requests(run: Run) -> None:
    """A violation about a request's form breaks the promise on requests, not the one on policy."""
    run.claim("m1")
    run.post("m1", violation="unknown_parameter")
    run.settle("m1", 1, "accepted")
    report = run.judge()
    assert rules(report, "requests") == {"unknown_parameter"}
    assert rules(report, "P1") == set()


@settings(max_examples=examples(40), deadline=None)
@given(data=st.data())
def test_any_order_of_simultaneous_lines_gives_the_same_verdict(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    """Journals of several processes are merged by time, and the order of files changes nothing."""
    folder = tmp_path_factory.mktemp("runs")
    run = Run(folder / "all.jsonl")
    for number in range(4):
        run.message(f"m{number}", f"SM{number}")
    if data.draw(st.booleans(), label="broken"):
        run.post("m1", 2, sid="SMtwin")
    expected = {promise.name: promise.verdict for promise in run.judge().promises}
    paths = [folder / f"{place}.jsonl" for place in range(3)]
    for path in paths:
        path.write_text("")
    for line in run.lines:
        with data.draw(st.sampled_from(paths)).open("a") as file:
            file.write(json.dumps(line) + "\n")
    assert {
        promise.name: promise.verdict
        for promise in verify(data.draw(st.permutations(paths))).promises
    } == expected
