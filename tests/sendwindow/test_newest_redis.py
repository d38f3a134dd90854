"""The producers with the newest redis-py.

The service cannot use it, because arq requires an older one.
"""

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.conftest import StoreUnderTest

SMOKE = """
import asyncio, sys, redis
from sendwindow import producer, sync
from sendwindow.contract import SendMessage

url, partition = sys.argv[1:]

FIELDS = {"to": "+14155550100", "sender": "shop", "purpose": "reply", "freeform": {"body": "x"}}

def message(number):
    return SendMessage(**FIELDS, message_id=f"m{number}")

async def main():
    async with producer.Producer(url, partition) as here:
        assert not (await here.send(message(0))).duplicate
        assert (await here.send_many(message(number) for number in range(1000))).duplicates == 1
        assert (await here.status("m1")).stage == "queued"
        assert await here.cancel("m1") == "cancelled"

asyncio.run(main())
with sync.Producer(url, partition) as there:
    assert there.send(message(0)).duplicate
    assert there.send_many(message(number) for number in range(1001)).duplicates == 1000
    assert there.status("m1").stage == "cancelled"
    assert there.cancel("m1001") == "unknown_id"
print(redis.__version__)
"""


def test_both_producers_work_with_the_newest_redis_py(
    store: "StoreUnderTest", root: Path, newest_redis: Path
) -> None:
    """Both producers work with the newest redis-py, which a backend may install."""
    command = [sys.executable, "-W", "error", "-c", SMOKE, store.url, store.partition]
    environ = {**os.environ, "PYTHONPATH": f"{newest_redis}{os.pathsep}{root}"}
    done = subprocess.run(
        command, cwd=root, env=environ, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout.split(".")[0]) >= 8
