"""A made run of the service, written as journal lines, for the tests of `verify`."""

import json
from itertools import count
from pathlib import Path
from typing import Any

from verify.judge import verify
from verify.judge_context import Options
from verify.report import Report

Line = dict[str, Any]


class Run:
    """Writes one journal, with a millisecond between lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: list[Line] = []
        self._t = count(1_000_000)
        self._n = count(1)

    def add(self, who: str, event: str, **fields: Any) -> Line:
        line = {"t": float(next(self._t)), "who": who, "e": event, **fields}
        self.lines.append(line)
        return line

    def claim(
        self, name: str, fence: int = 1, who: str = "worker-1", form: str = "freeform"
    ) -> None:
        self.add(who, "claimed", id=name, fence=fence)
        self.add(
            who, "decided", id=name, decision="send", reason="window_open", form=form, policy="1"
        )

    def post(
        self,
        name: str,
        attempt: int = 1,
        *,
        sid: str | None = "SM1",
        form: str = "freeform",
        **more: Any,
    ) -> Line:
        self.add("worker-1", "intent", id=name, attempt=attempt, fence=attempt)
        base = {
            "n": next(self._n),
            "id": name,
            "attempt": attempt,
            "person": "person-1",
            "account": "AC1",
            "channel": "whatsapp",
            "sender": "shop",
            "form": form,
            "sid": sid,
            "http": 201 if sid else 400,
            "code": None,
            "fails": None,
            "fault": None,
            "violation": None,
        }
        return self.add("sandbox", "post", **(base | more))

    def settle(
        self, name: str, attempt: int, stage: str, reason: str = "accepted", **more: Any
    ) -> Line:
        return self.add(
            "worker-1",
            "settled",
            **(
                {
                    "id": name,
                    "attempt": attempt,
                    "stage": stage,
                    "reason": reason,
                    "code": None,
                    "applied": True,
                }
                | more
            ),
        )

    def callback(self, sid: str, status: str, name: str, attempt: int = 1, **more: Any) -> None:
        known = {"sid": sid, "status": status, "id": name, "attempt": attempt}
        self.add(
            "gateway",
            "callback",
            **(known | {"known": True, "moved": True, "resolved": False} | more),
        )
        self.add("sandbox", "callback_sent", **(known | {"http": 200, "ms": 1.5}))

    def message(self, name: str, sid: str) -> None:
        """Journal a whole life without trouble."""
        self.add("producer", "accepted", id=name, duplicate=False)
        self.claim(name)
        self.post(name, sid=sid)
        self.add(
            "worker-1",
            "replied",
            id=name,
            attempt=1,
            reply="accepted",
            sid=sid,
            code=None,
            http=201,
        )
        self.settle(name, 1, "accepted")
        for status in ("sent", "delivered", "read"):
            self.callback(sid, status, name)

    def stop(self, sid: str = "SMstop", http: int | None = 200) -> None:
        """Let the person write STOP, and the gateway answer."""
        who = {"person": "person-1", "account": "AC1", "channel": "whatsapp", "sender": "shop"}
        self.add("sandbox", "said", sid=sid, stop=True, start=False, **who)
        self.add("gateway", "inbound", sid=sid, keyword="stop", opted="stop")
        self.add("sandbox", "said_acked", sid=sid, http=http)

    def write(self) -> None:
        self.path.write_text("".join(json.dumps(line) + "\n" for line in self.lines))

    def judge(self, **options: Any) -> Report:
        self.write()
        return verify([self.path], Options(**options))


def rules(report: Report, promise: str) -> set[str]:
    """Return the broken rules of a promise."""
    found = next(each for each in report.promises if each.name == promise)
    return {breach.rule for breach in found.breaches}
