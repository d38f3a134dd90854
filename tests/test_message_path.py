"""The script that counts what one message passes runs and counts something."""

import re
import subprocess
import sys
from pathlib import Path


def test_the_path_of_one_message_is_counted(root: Path) -> None:
    """The pipeline and the library are on the path; the list names each file once."""
    command = [sys.executable, "-m", "bench.message_path", "--list"]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    counted = re.search(r"^(\d+) files, (\d+) functions, (\d+) moves$", done.stdout, re.MULTILINE)
    assert counted is not None
    files = re.findall(r"^  (\S+\.py): ", done.stdout, re.MULTILINE)
    assert len(files) == len(set(files)) == int(counted[1])
    assert {"sendwindow/producer.py", "worker/pipeline/pipeline.py"} <= set(files)
