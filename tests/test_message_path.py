"""The path of one message is counted, and it stays short."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

MAX_FILES: Final = 50
MAX_MOVES: Final = 170
"""A little above what `bench.message_path` counts. Lower them when the path becomes shorter."""


def test_the_path_of_one_message_is_counted(root: Path) -> None:
    """The pipeline and the library are on the path, the list names each file once, and neither
    the files nor the moves between them grow.
    """
    command = [sys.executable, "-m", "bench.message_path", "--list"]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    counted = re.search(r"^(\d+) files, (\d+) functions, (\d+) moves \(", done.stdout, re.MULTILINE)
    assert counted is not None
    files = re.findall(r"^  (\S+\.py): ", done.stdout, re.MULTILINE)
    assert len(files) == len(set(files)) == int(counted[1])
    assert {"sendwindow/producer.py", "worker/pipeline/pipeline.py"} <= set(files)
    assert len(files) <= MAX_FILES
    assert int(counted[3]) <= MAX_MOVES


def test_control_goes_down_to_a_rule_once(root: Path) -> None:
    """No rule of the policy calls back: the evaluation is a value, and `decide` keeps the trace."""
    evaluation = ast.parse((root / "policies" / "evaluation.py").read_text("utf-8"))
    assert not [node for node in ast.walk(evaluation) if isinstance(node, ast.FunctionDef)]
