"""The same work per message with BullMQ and axios, on node.

`bench/bullmq/worker.mjs` does it. npm installs what its lock names into a folder of the user's
cache; nothing of it is kept in this repository. Without node or npm the row is not measured.
"""

import asyncio
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from bench.posted import ACCOUNT_SID, FORM, MAX_BATCH_MESSAGES
from bench.row import CPU_AND_RATE, Place, Row, Sizes, Spent

_SOURCE: Final = Path(__file__).resolve().parent.parent / "bullmq"
_FILES: Final = ("package.json", "package-lock.json", "worker.mjs")
_INSTALL_SECONDS: Final = 180.0


def folder() -> Path:
    """Return where the packages are installed: one folder for each version of our files."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    content = b"".join((_SOURCE / name).read_bytes() for name in _FILES)
    return cache / "sendwindow-bench" / f"bullmq-{hashlib.sha256(content).hexdigest()[:12]}"


def missing() -> str | None:
    """Install the packages unless they are there, and return why the row cannot run, or None."""
    if shutil.which("node") is None:
        return "node is not on the PATH"
    if (folder() / "installed").exists():
        return None
    if (npm := shutil.which("npm")) is None:
        return "npm is not on the PATH"
    folder().mkdir(parents=True, exist_ok=True)
    for name in _FILES:
        shutil.copyfile(_SOURCE / name, folder() / name)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        subprocess.run(
            command, cwd=folder(), check=True, capture_output=True, timeout=_INSTALL_SECONDS
        )
    except (subprocess.SubprocessError, OSError) as error:
        return f"npm could not install the packages ({type(error).__name__})"
    (folder() / "installed").touch()
    return None


async def measure(place: Place) -> Mapping[str, float]:
    job = {
        "socket": urlsplit(place.store_url).path,
        "url": f"{place.base_url}/2010-04-01/Accounts/{ACCOUNT_SID}/Messages.json",
        "form": FORM,
        "messages": place.size,
        "atATime": MAX_BATCH_MESSAGES,
    }
    # The row's time limit ends this process with the row: both are in one process group.
    process = await asyncio.create_subprocess_exec(
        "node", "worker.mjs", json.dumps(job), cwd=folder(), stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"the BullMQ worker ended with {process.returncode}")
    return Spent(**json.loads(output.splitlines()[-1])).figures()


ROWS: Final = (
    Row(
        "bullmq",
        "posts each of them from a job of BullMQ, with axios on node",
        CPU_AND_RATE,
        Sizes(5000, None, 20),
        measure,
        missing=missing,
    ),
)
