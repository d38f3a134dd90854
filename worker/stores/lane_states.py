"""What an operator sees of lanes, senders and accounts: what waits there, and what blocks it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal

from sendwindow.row_fields import RowField
from sendwindow.script_names import NO_END_MS
from sendwindow.timestamps import from_ms
from sendwindow.vocabulary import Reason
from worker.stores.fact_fields import StateField
from worker.stores.lanes import lane_names
from worker.stores.script_runner import ScriptRunner
from worker.stores.worker_scripts import MAX_DIGITS, worker_script

_NOW: Final = worker_script("now")
_STATE_FIELDS: Final = (
    StateField.STATE_UNTIL,
    StateField.STATE_REASON,
    StateField.PAUSED_AT,
    StateField.BREAKER_ENDS_AT,
    StateField.BREAKER_REASON,
    StateField.BREAKER_OPENED_AT,
    StateField.ACCOUNT,
)
_LIMITS: Final = {
    "sender": Reason.SENDER_RATE,
    "account": Reason.ACCOUNT_RATE,
    "campaign": Reason.CAMPAIGN_PAUSED,
}
_MAX_PAUSE_MS: Final = 366 * 86_400_000  # one that lasts longer has no end of its own
_BREAKER: Final = Reason.BREAKER_OPEN.value
_HEAD_FIELDS: Final = (RowField.REASON, RowField.ENQUEUED_AT)


@dataclass(frozen=True, slots=True)
class Block:
    """What keeps messages back.

    `by`: a pause, an open breaker, a limit, or the reason for which the first message of a lane
    waits. `detail`: what caused it. `since` and `until`: None where that is not known, and `until`
    also where it lasts until an operator ends it.
    """

    by: str
    detail: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane, or the lanes of a sender or an account together.

    `due`: how many messages could be claimed now, if nothing blocked them. `block`: None where
    nothing does.
    """

    kind: Literal["account", "sender", "lane"]
    account: str
    sender: str
    priority: str
    campaign: str
    queued: int
    due: int
    block: Block | None


@dataclass(frozen=True, slots=True)
class _Lane:
    name: str
    queued: int
    due: int
    wait: Block | None

    @property
    def parts(self) -> tuple[str, str, str]:
        """Sender, priority and campaign."""
        sender, _, rest = self.name.partition("|")
        priority, _, campaign = rest.partition("|")
        return sender, priority, campaign


@dataclass(frozen=True, slots=True)
class _Above:
    """What blocks an account, its senders by name, and what is parked by its member of the set."""

    account: Block | None
    senders: Mapping[str, Block | None]
    parked: Mapping[str, Block]


class LaneStates:
    """Reads lanes, and what blocks them. What moves meanwhile may be missed."""

    def __init__(self, calls: ScriptRunner) -> None:
        self._calls = calls

    async def states(self, accounts: Iterable[str], senders: Mapping[str, str]) -> list[LaneState]:
        """Return the accounts and senders that are given or have messages, and every lane.

        An account comes first, then each sender of it followed by its lanes. `senders`: their
        accounts according to the settings; the store's word comes first.
        """
        now = float(await self._calls.run(_NOW, []))
        lanes = await self._lanes(now)
        names = sorted({*senders, *(lane.parts[0] for lane in lanes)})
        fields = await self._fields("sender", names)
        owners = {
            name: _text(found[-1]) or senders.get(name, "")
            for name, found in zip(names, fields, strict=True)
        }
        blocks = _blocks(names, fields, now)
        all_accounts = sorted({*accounts, *owners.values()} - {""})
        of_accounts = _blocks(all_accounts, await self._fields("account", all_accounts), now)
        parked = await self._parked(now)
        states: list[LaneState] = []
        for account in (*all_accounts, *([""] if "" in owners.values() else [])):
            own = [name for name in names if owners[name] == account]
            above = _Above(of_accounts.get(account), blocks, parked)
            states += _of_account(account, own, above, lanes)
        return states

    async def open_breakers(self, accounts: Iterable[str]) -> dict[str, Block]:
        """Return the open breakers of accounts that are not paused as well."""
        names, now = list(accounts), float(await self._calls.run(_NOW, []))
        blocks = _blocks(names, await self._fields("account", names), now)
        return {name: one for name, one in blocks.items() if one and one.by == _BREAKER}

    async def _parked(self, now: float) -> dict[str, Block]:
        """Return what holds up a campaign, or a sender or an account that is not paused."""
        keys = self._calls.keys
        asked = ("ZRANGE", keys.parked, f"({now}", "+inf", "BYSCORE", "WITHSCORES")
        [found] = await self._calls.ask_together([asked])
        blocks: dict[str, Block] = {}
        for member, score in zip(found[::2], found[1::2], strict=True):
            kind, _, name = member.decode().partition("|")
            reason = _LIMITS[kind]
            if kind == "account":
                [most, posts] = await self._calls.ask_together(
                    [
                        ("HGET", keys.account(name), StateField.OPEN_POSTS),
                        ("ZCOUNT", keys.open_posts(name), f"({now}", "+inf"),
                    ]
                )
                if most is not None and posts >= int(most):
                    reason = Reason.ACCOUNT_BUSY
            until = None if float(score) >= NO_END_MS else from_ms(float(score))
            blocks[member.decode()] = Block(reason.value, until=until)
        return blocks

    async def _fields(self, kind: Literal["sender", "account"], names: Sequence[str]) -> list[Any]:
        key_of = self._calls.keys.sender if kind == "sender" else self._calls.keys.account
        return await self._calls.ask_together(
            [("HMGET", key_of(name), *_STATE_FIELDS) for name in names]
        )

    async def _lanes(self, now: float) -> list[_Lane]:
        names = await lane_names(self._calls)
        keys = [self._calls.keys.lane(name) for name in names]
        queued = await self._calls.ask_together([("ZCARD", key) for key in keys])
        due = await self._calls.ask_together([("ZCOUNT", key, "-inf", str(now)) for key in keys])
        heads = await self._calls.ask_together(
            [("ZRANGE", key, 0, 0, "WITHSCORES") for key in keys]
        )
        rows = await self._calls.ask_together(
            [
                ("HMGET", self._calls.keys.row(head[0].decode() if head else ""), *_HEAD_FIELDS)
                for head in heads
            ]
        )
        waits = [_wait(head, row, now) for head, row in zip(heads, rows, strict=True)]
        found = zip(names, queued, due, waits, strict=True)
        return [_Lane(*one) for one in sorted(found, key=lambda one: one[0]) if one[1]]


def _of_account(
    account: str,
    senders: Sequence[str],
    blocks: _Above,
    lanes: Sequence[_Lane],
) -> list[LaneState]:
    """Return an account, and its senders with their lanes."""
    of_senders = {name: [lane for lane in lanes if lane.parts[0] == name] for name in senders}
    every = [lane for own in of_senders.values() for lane in own]
    block, parked = blocks.account, blocks.parked
    busy = parked.get(f"account|{account}")
    states = [_together("account", account, "", every, block or busy)] if account else []
    for sender, own in of_senders.items():
        above = block or blocks.senders[sender]
        limit = busy or parked.get(f"sender|{sender}")
        states.append(_together("sender", account, sender, own, above or limit))
        for lane in own:
            name, priority, campaign = lane.parts
            held = parked.get(f"campaign|{name}|{campaign}") or above or lane.wait or limit
            states.append(
                LaneState("lane", account, name, priority, campaign, lane.queued, lane.due, held)
            )
    return states


def _together(
    kind: Literal["account", "sender"],
    account: str,
    sender: str,
    lanes: Sequence[_Lane],
    block: Block | None,
) -> LaneState:
    queued, due = sum(lane.queued for lane in lanes), sum(lane.due for lane in lanes)
    return LaneState(kind, account, sender, "", "", queued, due, block)


def _blocks(names: Sequence[str], fields: Sequence[Any], now: float) -> dict[str, Block | None]:
    return {name: _block(found, now) for name, found in zip(names, fields, strict=True)}


def _block(fields: Sequence[bytes | None], now: float) -> Block | None:
    """Return the pause or the open breaker of a sender or an account."""
    until, reason, since, breaker_ends, breaker_reason, opened_at, _ = fields
    ends = _number(until) or 0
    if ends > now:
        shown = from_ms(ends) if ends < now + _MAX_PAUSE_MS else None
        return Block("paused", _text(reason), _instant(since), shown)
    if breaker_ends is not None:
        return Block(_BREAKER, _text(breaker_reason), _instant(opened_at))
    return None


def _wait(head: Sequence[bytes], row: Sequence[bytes | None], now: float) -> Block | None:
    """Return why the first message of a lane waits, None when it is due."""
    if not head or float(head[1]) <= now:
        return None
    reason, enqueued = row
    return Block(_text(reason) or "not_before", "", _instant(enqueued), from_ms(float(head[1])))


def _text(value: bytes | None) -> str:
    return (value or b"").decode(errors="replace")


def _number(value: bytes | None) -> int | None:
    text = _text(value)
    return int(text) if text.isdecimal() and len(text) < MAX_DIGITS else None


def _instant(value: bytes | None) -> datetime | None:
    number = _number(value)
    return None if number is None else from_ms(number)
