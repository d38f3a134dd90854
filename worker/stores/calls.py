"""Runs the service's scripts against one partition. Holds the connection; knows nothing of what is stored."""

import asyncio
import json
import random
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from importlib import resources
from typing import Any, Final, TypeVar

from redis.asyncio import Redis
from redis.exceptions import RedisError

from sendwindow.keys import Keys
from sendwindow.scripts import Argument, Script, load_script
from sendwindow.store_faults import is_passing
from worker import clock
from worker.persons import SPELLINGS
from worker.stores.spellings import spellings_lua

Answer = TypeVar("Answer")

_PAUSE_SECONDS: Final = 0.1
_UNANSWERED: Final = 256
"""Calls whose request ids are remembered; what else raised is asked under a new one, as by another process."""
_FOLDER: Final = resources.files("worker.stores") / "lua"
_PARTS: Final = (
    *("1_rows", "2_facts", "3_consent", "3_effects"),
    *("4_table", "5_undo", "6_reports", "7_proof", "9_persons"),
)
_COMMON: Final = "".join((_FOLDER / f"_{part}.lua").read_text("utf-8") for part in _PARTS)
_SPELLINGS: Final = spellings_lua(SPELLINGS) + (_FOLDER / "_spellings.lua").read_text("utf-8")

_encode: Final = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


def worker_script(name: str, *more: str, reads_addresses: bool = False) -> Script:
    """Load one of the service's scripts, behind the shared parts and those of `more`.

    All may write to a full store, so that it drains. `reads_addresses`: it finds an address in a message and digests
    it itself.
    """
    prelude = _COMMON + (_SPELLINGS if reads_addresses else "")
    prelude += "".join((_FOLDER / f"_{part}.lua").read_text("utf-8") for part in more)
    return load_script(name, package="worker.stores", flags=["allow-oom"], prelude=prelude)


def adopt_script() -> Script:
    """Load the script that takes over arq's jobs. Like a producer's own, it writes nothing to a full store."""
    enqueue = (resources.files("sendwindow") / "lua" / "enqueue.lua").read_text("utf-8")
    queueing = f"local function enqueue(ARGV)\n{enqueue}\nend\n"
    return load_script("adopt", package="worker.stores", prelude=_COMMON + queueing)


def new_request() -> str:
    """Make the id of a call, kept over its repetitions, so that a script can tell them."""
    return secrets.token_hex(8)


def compact(fields: Mapping[str, object]) -> str:
    """Write a JSON object without blanks, leaving out what is None."""
    return _encode({name: value for name, value in fields.items() if value is not None})


def rest_of_note(fields: Mapping[str, object]) -> str:
    """Write the members of a timeline note, to be put behind those the script writes itself."""
    return compact(fields)[1:-1]


class Calls:
    """One partition of one store.

    `replicas`: how many must acknowledge a durable call (0: none). `budget`: how long a call that lost its connection
    is repeated; redis-py itself repeats one that failed under way, but not one whose connection broke while opening.
    """

    __slots__ = ("_budget", "_replicas", "_unanswered", "keys", "redis")

    def __init__(self, redis: Redis, keys: Keys, replicas: int = 0, budget: timedelta = timedelta()) -> None:
        self.redis = redis
        self.keys = keys
        self._replicas = replicas
        self._budget = budget.total_seconds()
        self._unanswered: dict[tuple[Argument, ...], str] = {}

    async def patiently(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """Ask again while the store is away or busy and the budget lasts. Only for what may be repeated."""
        ends_at = clock.monotonic() + self._budget
        while True:
            try:
                return await ask()
            except (RedisError, OSError) as error:
                if not is_passing(error) or clock.monotonic() >= ends_at:
                    raise
            await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS))

    async def run(self, script: Script, args: Sequence[Argument]) -> Any:
        """Run a script. Raises redis-py's errors."""
        return await self.patiently(lambda: script(self.redis, self.keys.meta, args))

    async def run_durably(self, script: Script, args: Sequence[Argument]) -> Any:
        """Run a script and wait for the replicas asked for. Raises NotDurable besides redis-py's errors."""
        return await self.patiently(lambda: script(self.redis, self.keys.meta, args, replicas=self._replicas))

    async def run_once(self, script: Script, args: Sequence[Argument]) -> Any:
        """Run a script that keeps its answer under a request id, durably. Raises what `run_durably` raises.

        A call that raised may have been done all the same, and only its answer says what: made again with the same
        arguments, it goes out under the same id and gets that answer.
        """
        call = (script.name, *args)
        request = self._unanswered.pop(call, None) or new_request()
        try:
            return await self.run_durably(script, [request, *args])
        except BaseException:
            self._unanswered[call] = request
            if len(self._unanswered) > _UNANSWERED:
                del self._unanswered[next(iter(self._unanswered))]
            raise
