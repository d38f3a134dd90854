"""What an operator asks about messages, and decides about dead letters."""

import itertools
import json
import math
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sendwindow.keys import Keys
from sendwindow.protocol import effective_row, open_campaign
from sendwindow.row_fields import RowField
from sendwindow.scripts import Argument, Command, execute_together
from sendwindow.timestamps import from_ms, to_ms
from worker.ports.records import IN_A_LANE, Ended, Record
from worker.stores.attempts_table import sids_of, without_table
from worker.stores.lanes import lane_names
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import MAX_DECIDED_MESSAGES, MAX_DIGITS, worker_script

_PROBE: Final = worker_script("probe")
_DEAD: Final = worker_script("dead")
_NOW: Final = worker_script("now")
_PAGE_MESSAGES: Final = 100
_ENDED_FIELDS: Final = [
    RowField.STAGE,
    RowField.REASON,
    RowField.LANE,
    RowField.ENDED_AT,
    RowField.ERROR_CODE,
]
_SCANNED_KEYS: Final = 1000

_LISTS: Final = (
    "dead",
    "unknown",
    "unresolved",
    "undelivered",
    "leases",
    "suspects",
    "ingress",
    "suspected_stops",
)


class RecordStore:
    """Implements `worker.ports.Records` on one partition."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def record(self, message_id: str) -> Record | None:
        """Return one message, whole.

        A dead letter that no worker could read has its bytes as payload.
        """
        record = (await self.several([message_id]))[0]
        if record is None or record.row.get(RowField.STAGE) not in IN_A_LANE:
            return record
        keys = self._calls.keys
        places = keys.lane(record.row[RowField.LANE]), keys.suspects
        scores = await self._calls.ask_together([("ZSCORE", key, message_id) for key in places])
        due_ms = next((score for score in scores if score is not None), None)
        return record if due_ms is None else replace(record, due_at=from_ms(math.ceil(due_ms)))

    async def listed(self, which: str) -> AsyncIterator[Record]:
        """Yield the messages in `dead`, `unknown` or `unresolved`, oldest first.

        Unknown messages come in the order of their next search. Raises ValueError for another list.
        """
        if which not in {"dead", "unknown", "unresolved"}:
            raise ValueError("the lists are dead, unknown and unresolved; ask for one of them")
        members = await self._calls.ask("ZRANGE", getattr(self._calls.keys, which), 0, -1)
        for start in range(0, len(members), _PAGE_MESSAGES):
            for record in await self.several(
                [member.decode() for member in members[start : start + _PAGE_MESSAGES]]
            ):
                if record is not None:
                    yield record

    async def probe(self) -> None:
        """Raise unless the store answers and accepts a write.

        The cost does not depend on how much the store holds. Tries once.
        """
        await _PROBE(self._calls.redis, self._calls.keys.meta, [])

    async def counts(self) -> Mapping[str, int]:
        """Return the totals of the whole store."""
        totals = await self._calls.ask("HGETALL", self._calls.keys.counts)
        return {name.decode(): int(value) for name, value in totals.items()}

    async def depths(self) -> Mapping[str, int]:
        """Return how many messages each lane and each list has.

        A lane is named `<sender>|<priority>|<campaign>`, and a list by its own name.
        """
        keys = self._calls.keys
        names = await lane_names(self._calls)
        places = (*map(keys.lane, names), *(getattr(keys, name) for name in _LISTS))
        lengths = await self._calls.ask_together([("ZCARD", key) for key in places])
        depths = dict(zip([*names, *_LISTS], lengths, strict=True))
        return {name: int(depth) for name, depth in depths.items() if depth or name in _LISTS}

    async def suspected_for(self) -> timedelta | None:
        """Return how long the oldest suspected stop has waited for an operator.

        None: there is no suspected stop.
        """
        redis, stops = self._calls.redis, self._calls.keys.suspected_stops
        oldest = await self._calls.patiently(lambda: redis.zrange(stops, 0, 0, withscores=True))
        if not oldest:
            return None
        return timedelta(
            milliseconds=max(0.0, float(await self._calls.run(_NOW, [])) - oldest[0][1])
        )

    async def note_misdirected(self, endpoint: str) -> None:
        """Count a request that came to `endpoint` and belongs to the other one, and record when."""
        now = await self._calls.run(_NOW, [])
        # Not repeated: a repeat would count the request again.
        await execute_together(
            self._calls.redis,
            [
                ("HINCRBY", self._calls.keys.counts, f"misdirected:{endpoint}", 1),
                ("HSET", self._calls.keys.meta, f"misdirected:{endpoint}", str(int(now))),
            ],
        )

    async def misdirected_for(self, endpoint: str) -> timedelta | None:
        """Return how long ago a request last came to the wrong URL, `endpoint`.

        None: no request ever did.
        """
        last = await self._calls.ask("HGET", self._calls.keys.meta, f"misdirected:{endpoint}")
        if last is None:
            return None
        return timedelta(
            milliseconds=max(0.0, float(await self._calls.run(_NOW, [])) - float(last))
        )

    async def replay(
        self,
        message_ids: Sequence[str],
        expires_at: datetime | Sequence[datetime],
        *,
        even_if_sent: bool = False,
    ) -> list[str]:
        """Queue dead letters again under the same ids, to be sent before `expires_at`.

        `expires_at` is one instant for all messages, or one for each.

        Returns for each `replayed`, `not_dead`, `unknown_id`, `no_job` (there is nothing readable
        to send), `cancelled` (by its producer), `sent` (an attempt of it is proven to be with
        Twilio) or `perhaps_sent` (an attempt may be with Twilio; `even_if_sent` replays it all the
        same). Each call is a decision of its own: a second call finds the message queued.
        """
        return await self._decide("replay", message_ids, expires_at, even_if_sent=even_if_sent)

    async def ended(self, stages: Collection[str]) -> AsyncIterator[Ended]:
        """Yield the messages that ended in one of these stages, in no order.

        This scans every key of the store, about a thousand at a time at most, so that no other call
        waits long.
        """
        prefix, seen, cursor = self._calls.keys.row(""), set[str](), 0
        while True:
            cursor, names = await self._calls.ask(
                "SCAN", cursor, "MATCH", f"{prefix}*", "COUNT", _SCANNED_KEYS
            )
            ids = [name.decode().removeprefix(prefix) for name in names]
            for one in await self._ended(ids):
                if one.stage in stages and one.message_id not in seen:
                    seen.add(one.message_id)
                    yield one
            if cursor == 0:
                return

    async def _ended(self, message_ids: Sequence[str]) -> list[Ended]:
        rows = await self._calls.ask_together(
            [("HMGET", self._calls.keys.row(each), *_ENDED_FIELDS) for each in message_ids]
        )
        found = []
        for message_id, (*known, code) in zip(message_ids, rows, strict=True):
            if all(known):
                stage, reason, lane, ended = (field.decode(errors="replace") for field in known)
                at = from_ms(_whole(ended) or 0)
                found.append(
                    Ended(
                        message_id,
                        stage,
                        reason,
                        lane,
                        at,
                        _whole((code or b"").decode(errors="replace")),
                    )
                )
        return found

    async def may_retry(
        self, message_ids: Sequence[str], *, even_if_sent: bool = False
    ) -> list[str]:
        """Return for each message what `retry` would return, `may_go` for `retried`.

        Writes nothing.
        """
        return await self._decide("may_retry", message_ids, even_if_sent=even_if_sent)

    async def retry(
        self,
        message_ids: Sequence[str],
        expires_at: datetime | Sequence[datetime],
        *,
        even_if_sent: bool = False,
    ) -> list[str]:
        """Queue refused, failed and expired messages again under their ids.

        The arguments are those of `replay`.

        Returns for each `retried`, `not_ended` (it did not end in one of these ways, or another
        call was first), and otherwise what `replay` returns.
        """
        return await self._decide("retry", message_ids, expires_at, even_if_sent=even_if_sent)

    async def drop(self, message_ids: Sequence[str]) -> list[str]:
        """Drop dead letters. Their rows stay for 72 h.

        Returns for each `dropped`, `not_dead` or `unknown_id`.
        """
        return await self._decide("drop", message_ids)

    async def _decide(
        self,
        decision: str,
        message_ids: Sequence[str],
        expires_at: datetime | Sequence[datetime] | None = None,
        *,
        even_if_sent: bool = False,
    ) -> list[str]:
        ends = (
            [expires_at] * len(message_ids)
            if expires_at is None or isinstance(expires_at, datetime)
            else expires_at
        )
        pairs: list[tuple[Argument, Argument]] = [
            (message_id, "" if end is None else to_ms(end))
            for message_id, end in zip(message_ids, ends, strict=True)
        ]
        answers: list[bytes] = []
        for start in range(0, len(pairs), MAX_DECIDED_MESSAGES):
            asked = itertools.chain.from_iterable(pairs[start : start + MAX_DECIDED_MESSAGES])
            given: list[Argument] = [decision, "1" if even_if_sent else "", *asked]
            if decision == "may_retry":
                # It changes nothing, so it needs no request id, and no replica has to acknowledge
                # it.
                answers += await self._calls.run(_DEAD, ["", *given])
            else:
                answers += await self._calls.run_once(_DEAD, given)
        return [answer.decode() for answer in answers]

    async def several(self, message_ids: Sequence[str]) -> list[Record | None]:
        """Return messages whole except for `due_at`, None for an id that is not known."""
        keys = self._calls.keys
        read = [_reading(keys, message_id) for message_id in message_ids]
        asked = [*itertools.chain.from_iterable(read), ("EXISTS", keys.cancelled_campaigns)]
        *found, are_cancelled = await self._calls.ask_together(asked)
        answers = iter(found)
        records = [_record(message_id, *itertools.islice(answers, 4)) for message_id in message_ids]
        if not are_cancelled:
            return records
        return [
            await self._with_campaign(record, campaign)
            if record is not None and (campaign := open_campaign(record.row)) is not None
            else record
            for record in records
        ]

    async def _with_campaign(self, record: Record, campaign: str) -> Record | None:
        """Read a message again, together with the cancel of its campaign."""
        keys, message_id = self._calls.keys, record.message_id
        asked = [*_reading(keys, message_id), ("ZSCORE", keys.cancelled_campaigns, campaign)]
        return _record(message_id, *await self._calls.ask_together(asked, at_once=True))


def _reading(keys: Keys, message_id: str) -> list[Command]:
    return [
        ("HGETALL", keys.row(message_id)),
        ("LRANGE", keys.timeline(message_id), 0, -1),
        ("GET", keys.job(message_id)),
        ("GET", keys.unreadable(message_id)),
    ]


def _whole(text: str) -> int | None:
    """Return a stored number, None where it cannot be read.

    It does not raise, because one bad row must not hold up the others.
    """
    return int(text) if text.isdecimal() and len(text) < MAX_DIGITS else None


def _record(message_id: str, *parts: Any) -> Record | None:
    row, timeline, job, raw, *cancelled_at = parts
    if not row:
        return None
    fields = {name.decode(): value.decode(errors="replace") for name, value in row.items()}
    # This line is not stored, because the row says the same. It would cost a line for each of a
    # million queued messages.
    enqueued = {"at": _whole(fields.get(RowField.ENQUEUED_AT, "")) or 0, "e": "enqueued"}
    return Record(
        message_id=message_id,
        row=effective_row(without_table(fields), *cancelled_at),
        timeline=(enqueued, *(json.loads(line) for line in timeline)),
        payload=job if job is not None else raw,
        sids=sids_of(fields),
    )
