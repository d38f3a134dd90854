"""Sorts the lines of journals by message, and the rest by what they are about."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.verify.journals import Evidence, Line

_DROPPED = frozenset({"answered"})


@dataclass(slots=True)
class History:
    """One message's lines in order of time."""

    message_id: str
    lines: list[Line] = field(default_factory=list)

    def of(self, *events: str) -> list[Line]:
        """Pick the lines of these events."""
        return [line for line in self.lines if line["e"] in events]

    def sent_again(self) -> list[float]:
        """Tell when a person had it sent again: replayed, retried, or an attempt of it called not sent."""
        return [
            line["t"]
            for line in self.lines
            if line["e"] in {"replayed", "retried"}
            or (line["e"] == "resolved" and line.get("reason") == "evidence_person" and not line.get("sid"))
        ]


class Standing(NamedTuple):
    """Where a store has a message. `is_held`: in a place from which somebody will take it up."""

    stage: str
    is_held: bool = True


@dataclass(slots=True)
class Book:
    """All histories, and the lines that belong to no message or to a SID.

    `said`: SID → what a person wrote. `said_acked`, `inbound`: SIDs the gateway answered with 2xx, SIDs in its journal.
    `ignored`: those of the latter that it says it did not store, as nobody it sends to wrote them.
    `heard`: SID → the gateway's line on it. `decisions`: on suspected stops. `allowed`: persons whom an operator let
    get messages again after errors.
    `consents`: grants, withdrawals and STARTs of persons. `callbacks`: SID → the gateway's lines. `told`: SID → the
    sandbox's callbacks with their answers. `missing`: lines that journals say they could not keep. `held`: messages
    that the store, when asked, holds: somebody will take them up.
    """

    histories: dict[str, History] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    posts: list[Line] = field(default_factory=list)
    said: dict[str, Line] = field(default_factory=dict)
    said_acked: dict[str, float] = field(default_factory=dict)
    inbound: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    callbacks: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    consents: list[Line] = field(default_factory=list)
    heard: dict[str, Line] = field(default_factory=dict)
    decisions: list[Line] = field(default_factory=list)
    allowed: list[Line] = field(default_factory=list)
    killed: list[Line] = field(default_factory=list)
    missing: int = 0
    held: set[str] = field(default_factory=set)
    last_t: float = 0.0

    @property
    def has_worker(self) -> bool:
        """Whether a worker's journal is among the files: then its decisions and intents must be there."""
        return any(self.events.get(event) for event in ("claimed", "decided", "intent"))

    def add_found(self, standings: Mapping[str, Standing]) -> None:
        """Put what the store says of messages known here at the end of their histories."""
        for message_id, standing in standings.items():
            if message_id in self.histories:
                line = {"t": self.last_t, "who": "store", "e": "found", "id": message_id, "stage": standing.stage}
                self.histories[message_id].lines.append(line)
                self.events["found"] += 1
                if standing.is_held:
                    self.held.add(message_id)


def open_book(evidence: Evidence) -> Book:
    """Sort the evidence. A callback that names no message belongs to the one whose POST got its SID."""
    book = Book()
    by_sid = {line["sid"]: line.get("id") for line in evidence.lines if line["e"] == "post" and line.get("sid")}
    for line in evidence.lines:
        event = line["e"]
        book.events[event] += 1
        if event in _DROPPED:
            continue
        if event == "gap":
            book.missing += line.get("lines") or 0
        _file(book, event, line)
        message_id = line.get("id") or by_sid.get(line.get("sid") or "")
        if message_id is not None:
            history = book.histories.get(message_id)
            if history is None:
                history = book.histories[message_id] = History(message_id)
            history.lines.append(line)
    if evidence.lines:
        book.last_t = evidence.lines[-1]["t"]
    return book


def _file(book: Book, event: str, line: Line) -> None:
    sid = line.get("sid") or ""
    in_order = {"post": book.posts, "consent": book.consents, "suspected": book.decisions, "allowed": book.allowed}
    match event:
        case "post" | "consent" | "suspected" | "allowed":
            in_order[event].append(line)
        case "callback" | "fetched":
            book.callbacks[sid].append(line)
        case "callback_sent":
            book.told[sid].append(line)
        case "said":
            book.said.setdefault(sid, line)
        case "said_acked" if is_2xx(line.get("http")):
            book.said_acked.setdefault(sid, line["t"])
        case "inbound":
            _file_inbound(book, sid, line)
        case "killed":
            book.killed.append(line)
        case _:
            pass


def _file_inbound(book: Book, sid: str, line: Line) -> None:
    book.inbound.add(sid)
    book.heard.setdefault(sid, line)
    if line.get("ignored") is not None:
        book.ignored.add(sid)
    if line.get("opted") == "start":
        book.consents.append(line)


def is_2xx(http: object) -> bool:
    """Tell whether an answer was a success; no answer is none."""
    return isinstance(http, int) and 200 <= http < 300
