"""Every row runs, and what the rows stand on does what it says."""

import asyncio
import re
import time
from collections.abc import Iterator
from pathlib import Path

import aiohttp
import pytest

from bench.child import Child, ChildError
from bench.mock_api import Script
from bench.mock_server import SharedMock, shared_mock
from bench.registry import MODULES, ROWS
from bench.report import MAX_LABEL_WIDTH
from bench.row import CPU_AND_RATE, Row
from bench.row_runner import RowError, run_row
from bench.scripted_mock import scripted_mock
from bench.waits import first_posts, waits_of
from bench.world import WrongEndError

SHORT = {"raw_loop", "enqueue_built", "fair_shares"}
"""Rows that start no process of their own. The others take seconds and run with `--all`."""

POST = "/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json"


@pytest.fixture(scope="module")
def mock() -> Iterator[SharedMock]:
    """Run the mock that the rows share."""
    with shared_mock() as running:
        yield running


def _marked(row: Row) -> object:
    return pytest.param(row, id=row.name, marks=() if row.name in SHORT else pytest.mark.long)


@pytest.mark.parametrize("row", [_marked(row) for row in ROWS if row.missing is None])
def test_every_row_runs(row: Row, mock: SharedMock) -> None:
    """With tiny numbers, each row returns the figures that it declares, and they are numbers.

    `bullmq` is left out: it asks a package index first.
    """
    figures = run_row(row, row.sizes.tiny, mock)
    assert set(figures) == {figure.key for figure in row.figures}
    assert all(value >= 0 for value in figures.values())
    if row.figures == CPU_AND_RATE:
        assert all(value > 0 for value in figures.values())


def test_a_row_that_takes_too_long_is_ended(mock: SharedMock) -> None:
    """The error names the row and its limit, and the store is stopped."""
    with pytest.raises(RowError, match="raw_loop took longer than 0 s"):
        run_row(ROWS[0], 1_000_000, mock, limit=0.01)


def test_a_row_that_fails_shows_its_last_lines() -> None:
    """Here the mock is not there."""
    nowhere = SharedMock("bundled", "http://127.0.0.1:1", "", "")
    with pytest.raises(RowError, match=r"raw_loop failed:(?s:.*)ClientConnectorError"):
        run_row(ROWS[0], 1, nowhere)


def test_rows_have_names_of_their_own_and_say_what_they_do() -> None:
    """Each row is in its module once, and each figure fits its column."""
    assert len(MODULES) == len(ROWS)
    for row in ROWS:
        assert row.what
        assert re.fullmatch(r"[a-z0-9_]{1,18}", row.name)
        assert len({figure.key for figure in row.figures}) == len(row.figures)
        assert all(len(figure.label) <= MAX_LABEL_WIDTH for figure in row.figures)


def test_the_page_about_performance_names_every_row(root: Path) -> None:
    """The tables of rows in docs/performance.md have the rows of the registry, and no others."""
    page = (root / "docs" / "performance.md").read_text().split("## Measure it again")[1]
    listed = re.findall(r"^\| `([a-z0-9_]+)` \| (.+) \|$", page, re.MULTILINE)
    assert listed == [(row.name, row.what) for row in ROWS]


# -- the mocks -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_the_shared_mock_accepts_every_post_and_lists_nothing(mock: SharedMock) -> None:
    """Each POST gets 201 with a SID of its own, over HTTP; a list is empty."""
    async with aiohttp.ClientSession(mock.base_url) as session:
        sids = []
        for _ in range(2):
            async with session.post(POST, data={"To": "whatsapp:+14155550101"}) as answer:
                assert answer.status == 201
                sids.append((await answer.json())["sid"])
        async with session.get(POST) as answer:
            assert answer.status == 200
            assert await answer.json() == {"messages": [], "next_page_uri": None}
    assert len(set(sids)) == 2
    assert all(re.fullmatch(r"SM[0-9a-f]{32}", sid) for sid in sids)


@pytest.mark.asyncio
async def test_a_scripted_mock_remembers_posts_and_plays_an_outage() -> None:
    """It names the message of each POST in order, and answers 503 while it is down."""
    form = {"StatusCallback": "https://hooks.example.com/twilio/status?m=order-1&q=5&a=1#rc=5"}
    async with scripted_mock(Script(remembers=True)) as mock:
        async with aiohttp.ClientSession(mock.base_url) as session:
            began, seen = time.monotonic(), []
            for change in (None, mock.go_down, mock.come_back):
                if change is not None:
                    await change()
                async with session.post(POST, data=form) as answer:
                    seen.append(answer.status)
        posts = await mock.posts()
        assert await mock.asked() == 3
    assert seen == [201, 503, 201]
    assert [(post.message_id, post.is_accepted) for post in posts] == [
        ("order-1", True), ("order-1", False), ("order-1", True),
    ]  # fmt: skip
    assert began <= posts[0].at <= posts[1].at <= posts[2].at
    assert first_posts(posts) == {"order-1": posts[0].at}


@pytest.mark.asyncio
async def test_a_scripted_mock_hangs_for_one_address_only() -> None:
    """The answer to another address comes while the first one still hangs."""
    script = Script(hanging="whatsapp:+14155550103", hang_seconds=600)
    async with (
        scripted_mock(script) as mock,
        aiohttp.ClientSession(mock.base_url) as session,
    ):
        hanging = asyncio.create_task(
            session.post(POST, data={"From": script.hanging}).__aenter__()
        )
        await mock.wait_for(1)
        async with session.post(POST, data={"From": "whatsapp:+14155550100"}) as answer:
            assert answer.status == 201
        assert not hanging.done()
        hanging.cancel()


@pytest.mark.asyncio
async def test_a_message_without_a_post_counts_with_the_time_that_was_waited_for_it() -> None:
    """Otherwise a worker that never sends would have the best figures. All must go where asked."""
    async with scripted_mock(Script(remembers=True)) as mock:
        began = {"order-1": time.monotonic() - 600}
        waits = await waits_of(mock, began, 0.0, all_go=False)
        assert waits.unsent == 1
        assert waits.ms(0.5) >= 600_000
        with pytest.raises(WrongEndError, match="1 of 1 messages had no POST"):
            await waits_of(mock, began, 0.0)


# -- processes -----------------------------------------------------------------------------------


@pytest.mark.asyncio
async def test_a_process_that_ends_early_is_reported_with_its_last_lines() -> None:
    """The error has the process's own words."""
    async with await Child.start("bench.mock_api", {"script": {"speed": 1}}) as child:
        with pytest.raises(ChildError, match=r"process ended; (?s:.*)speed"):
            await child.answer()


@pytest.mark.asyncio
async def test_a_process_ends_when_its_input_closes() -> None:
    """None outlives the row that started it."""
    child = await Child.start("bench.mock_api", {})
    await child.answer()
    assert await child.cpu() > 0
    await child.stop()
    with pytest.raises(ChildError):
        await child.ask("cpu")
