"""Sorts the lines of journals by message, and the other lines by subject."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from verify.journal_reader import JournalLines, Line

_DROPPED = frozenset({"answered"})


@dataclass(slots=True)
class History:
    """The lines of one message, ordered by time."""

    message_id: str
    lines: list[Line] = field(default_factory=list)

    def of(self, *events: str) -> list[Line]:
        """Return the lines of these events."""
        return [line for line in self.lines if line["e"] in events]

    def sent_again(self) -> list[float]:
        """Return when another life began.

        The message was replayed, retried, or resolved by an operator as not sent.
        """
        return [
            line["t"]
            for line in self.lines
            if line["e"] in {"replayed", "retried"}
            or (
                line["e"] == "resolved"
                and line.get("reason") == "evidence_person"
                and not line.get("sid")
            )
        ]


class StoredOutcome(NamedTuple):
    """Where the store has a message.

    `is_held`: it is in a place from which a worker or an operator will take it up.
    """

    stage: str
    is_held: bool = True


@dataclass(slots=True)
class Book:
    """All histories, and the lines that belong to no message or to a SID.

    `said`: SID → what a person wrote. `said_acked`: SIDs that the gateway answered with 2xx.
    `inbound`: SIDs in the gateway's journal. `ignored`: those of `inbound` that the gateway did not
    store, because it sends nothing to that person. `heard`: SID → the gateway's line about it.
    `decisions`: operators' decisions on suspected stops. `allowed`: persons to whom an operator
    allowed messages again after errors. `consents`: grants, withdrawals and STARTs of persons.
    `callbacks`: SID → the gateway's lines. `told`: SID → the sandbox's callbacks with the gateway's
    answers. `turned_away`: SID → what a person wrote and the gateway refused for good. `applied`:
    operators' decisions to apply effects that were held. `missing`: how many lines the processes
    say they could not write. `held`: messages that the store still holds, if it was asked.
    """

    histories: dict[str, History] = field(default_factory=dict)
    events: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    posts: list[Line] = field(default_factory=list)
    said: dict[str, Line] = field(default_factory=dict)
    said_acked: dict[str, float] = field(default_factory=dict)
    turned_away: dict[str, Line] = field(default_factory=dict)
    inbound: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)
    callbacks: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    told: dict[str, list[Line]] = field(default_factory=lambda: defaultdict(list))
    consents: list[Line] = field(default_factory=list)
    heard: dict[str, Line] = field(default_factory=dict)
    decisions: list[Line] = field(default_factory=list)
    allowed: list[Line] = field(default_factory=list)
    applied: list[Line] = field(default_factory=list)
    killed: list[Line] = field(default_factory=list)
    missing: int = 0
    held: set[str] = field(default_factory=set)
    last_t: float = 0.0

    @property
    def has_worker(self) -> bool:
        """Whether a worker's journal is among the files.

        If it is, the worker's decisions and intents must be in it.
        """
        return any(self.events.get(event) for event in ("claimed", "decided", "intent"))

    def add_found(self, standings: Mapping[str, StoredOutcome]) -> None:
        """Append what the store says about known messages to the ends of their histories."""
        for message_id, standing in standings.items():
            if message_id in self.histories:
                line = {
                    "t": self.last_t,
                    "who": "store",
                    "e": "found",
                    "id": message_id,
                    "stage": standing.stage,
                }
                self.histories[message_id].lines.append(line)
                self.events["found"] += 1
                if standing.is_held:
                    self.held.add(message_id)


def open_book(evidence: JournalLines) -> Book:
    """Sort the lines into a book.

    A callback that names no message belongs to the message whose POST got its SID.
    """
    book = Book()
    by_sid = {
        line["sid"]: line.get("id")
        for line in evidence.lines
        if line["e"] == "post" and line.get("sid")
    }
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
    in_order = {
        "post": book.posts,
        "consent": book.consents,
        "suspected": book.decisions,
        "allowed": book.allowed,
    }
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
        case "said_acked" if is_refusal(line.get("http")):
            book.turned_away.setdefault(sid, line)
        case "held_effects" if line.get("decision") == "apply":
            book.applied.append(line)
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


def is_refusal(http: object) -> bool:
    """Return whether an HTTP status refuses a request for good.

    408 and 429 ask the caller to try again later.
    """
    return isinstance(http, int) and 400 <= http < 500 and http not in {408, 429}


def is_2xx(http: object) -> bool:
    """Return whether an HTTP status is a success. None means that there was no answer."""
    return isinstance(http, int) and 200 <= http < 300
