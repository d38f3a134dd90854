"""Fixtures of these tests."""

from pathlib import Path

import pytest

from tests.support.verify_run import Run


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run.jsonl")
