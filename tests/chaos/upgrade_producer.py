"""Enqueues, cancels and asks on command, through whatever release of the library it is run with.

It imports nothing but the library and the standard library, because the upgrade runs it with the
Python of an old release. Each line on standard input is a command, and each command is answered by
one line of JSON: `enqueue FIRST COUNT`, `cancel ID`, `status ID`.
"""

import asyncio
import json
import random
import sys
from collections.abc import Sequence
from typing import Any

from sendwindow.contract import SendMessage
from sendwindow.errors import StoreUnavailable
from sendwindow.producer import Producer

RULES = ("hold", "resend_if_absent", "never")
"""No message may go out twice, so none has the rule `resend`."""


def recipient(number: int) -> str:
    """Return the phone of a person, as the cast of the tests has it."""
    return f"+1{201 + number // 100}55501{number % 100:02}"


def fields(seed: int, number: int, people: int) -> dict[str, Any]:
    """Return a message by its number, the same for the same seed.

    Every text names its message, so no row of Twilio's list can belong to another message.
    """
    chance = random.Random(f"{seed}/{number}")
    to = recipient(chance.randrange(people))
    is_text = number % 5 == 4
    content: dict[str, Any] = {"freeform": {"body": f"Order {number} has left the warehouse."}}
    if not is_text:
        content["template"] = {
            "name": "order_update",
            "language": "en",
            "variables": {"1": str(number)},
        }
    return {
        "to": to if is_text else f"whatsapp:{to}",
        "sender": "text" if is_text else "shop",
        "purpose": "utility",
        "message_id": f"m{number}",
        "priority": chance.choice(("urgent", "normal", "bulk")),
        "campaign": chance.choice((None, "spring")),
        "on_unknown": chance.choice(RULES),
        **content,
    }


async def _answer(producer: Producer, seed: int, people: int, words: Sequence[str]) -> object:
    match words:
        case ["enqueue", first, count]:
            numbers = range(int(first), int(first) + int(count))
            messages = [SendMessage(**fields(seed, number, people)) for number in numbers]
            receipts = (await producer.send_many(messages)).receipts
            return [[one.message_id, one.enqueued_at.isoformat()] for one in receipts]
        case ["cancel", message_id]:
            return str(await producer.cancel(message_id))
        case ["status", message_id]:
            found = await producer.status(message_id)
            return None if found is None else found.stage
    raise ValueError(words)


async def _main(url: str, seed: int, people: int) -> None:
    loop = asyncio.get_running_loop()
    async with Producer(url) as producer:
        while line := await loop.run_in_executor(None, sys.stdin.readline):
            while True:
                try:
                    answer = await _answer(producer, seed, people, line.split())
                except StoreUnavailable:
                    continue
                break
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
