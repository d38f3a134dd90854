"""A made run with an announced message, for the tests of `verify`."""

from typing import Any

from tests.support.verify_run import Run

DAY = 86_400_000


GRANTED = {"granted": True, "purpose": None}


UTILITY = {"granted": True, "purpose": "utility"}


MARKETING = {"granted": True, "purpose": "marketing"}


def said(run: Run, *words: dict[str, Any]) -> None:
    """Record a person's words on consent, each later than the one before."""
    for word in words:
        event = "inbound" if "opted" in word else "consent"
        base = {
            "person": "digest-1",
            "account": "main",
            "sender": None,
            "at": None,
            "expires": None,
        }
        run.add(
            "gateway" if event == "inbound" else "person", event, **(base | {"sid": "SMin"} | word)
        )


def sent(run: Run, purpose: str = "utility", *, form: str = "template", **more: Any) -> None:
    """Journal a message that was accepted, decided and posted.

    `more` goes into the lines `accepted` and `post`.
    """
    accepted = {
        "purpose": purpose,
        "person": "digest-1",
        "account": "main",
        "sender": "shop",
        "not_before": None,
    }
    told = {name: more.pop(name) for name in tuple(more) if name in {*accepted, "expires"}}
    run.add(
        "producer", "accepted", id="m1", duplicate=False, **({"expires": None} | accepted | told)
    )
    run.claim("m1", form=form)
    fitting = {"authentication": "AUTHENTICATION", "marketing": "MARKETING"}.get(purpose, "UTILITY")
    category = fitting if form == "template" else None
    run.post("m1", form=form, **({"at": DAY, "window": False, "category": category} | more))
    run.settle("m1", 1, "accepted")
