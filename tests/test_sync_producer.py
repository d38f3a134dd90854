"""The blocking producer is made from the asyncio one."""

from pathlib import Path

import pytest

from checks import sync_producer


def test_the_blocking_producer_is_what_the_asyncio_one_makes() -> None:
    """A change of one producer that the other lacks fails the check."""
    assert sync_producer.main(["--check"]) == 0


def test_a_stale_twin_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The check names the file that is stale and the command that writes it."""
    source = sync_producer.SOURCE.read_text("utf-8")
    assert "duplicate. Raises" in source
    changed = source.replace("duplicate. Raises", "duplicate. Still raises")
    (tmp_path / "producer.py").write_text(changed, "utf-8")
    monkeypatch.setattr(sync_producer, "SOURCE", tmp_path / "producer.py")
    assert sync_producer.main(["--check"]) == 1
    assert "sendwindow/sync.py" in capsys.readouterr().out


def test_nothing_asynchronous_is_left() -> None:
    """What the generator cannot translate stops it, and so does a text that it no longer finds."""
    source = sync_producer.SOURCE.read_text("utf-8")
    with pytest.raises(sync_producer.StaleError, match="asyncio"):
        sync_producer.to_sync(f"{source}\n_LOCK = asyncio.Lock()\n")
    with pytest.raises(sync_producer.StaleError, match="TEXTS"):
        sync_producer.to_sync(source.replace("asyncio.sleep", "asyncio.wait"))
