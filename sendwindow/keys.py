"""Names every Redis key of a partition, and generates the Lua prelude that names the same ones.

The only place where a key is spelled. All keys of a partition carry its hash tag, so a partition is one Cluster slot.
No key holds an address: persons appear as keyed digests, and an id shaped like an address is refused.
"""

from dataclasses import dataclass
from typing import Final

ARQ_JOB: Final = "arq:job:"
"""Prefix of a job written by a plain arq producer, followed by its job id."""

ARQ_ABORT: Final = "arq:abort"
"""ZSET of job ids that plain arq producers asked to abort. arq gives it no hash tag."""

SCHEMA: Final = 1
"""Number of the stored layout. Every process refuses a store that has another one."""


def knows_layout(schema: bytes | str | None) -> bool:
    """Return whether this release can read a store with this `schema`; a new store has none yet.

    What is no number was written by a release, or a person, that we know nothing of.
    """
    if schema is None:
        return True
    text = schema.decode("ascii", "replace") if isinstance(schema, bytes) else schema
    return text == str(SCHEMA)


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one partition. `partition` is 1 to 32 characters of `[a-z0-9_-]`."""

    partition: str

    @property
    def tag(self) -> str:
        return "{" + self.partition + "}"

    def _key(self, name: str) -> str:
        return f"sw:{self.tag}:{name}"

    # -- arq's own keys ------------------------------------------------------------------------
    def job_id(self, message_id: str) -> str:
        return self.tag + message_id

    def job(self, message_id: str) -> str:
        """STRING: the job in arq's wire format, kept until the message ends."""
        return f"arq:job:{self.tag}{message_id}"

    @property
    def ingress(self) -> str:
        """ZSET: where plain arq producers enqueue; read every 250 ms."""
        return f"arq:{self.tag}:queue"

    @property
    def periodic(self) -> str:
        """ZSET: the queue of arq's own `Worker`, which runs the periodic work of the partition."""
        return f"arq:{self.tag}:periodic"

    # -- store ---------------------------------------------------------------------------------
    @property
    def meta(self) -> str:
        """HASH: facts about the whole store.

        schema, profile (`live` or `sandbox`), person_key (fingerprint), offset_ms (sandbox only), pressure (0..100),
        full_at, vtime, durable (rewritten before a WAIT), called, called_until (for suspects), reap_at (last asked),
        reap_from (not before), reap_grace (ms it was put off by), reap_graces (how often in a row), clock_at (the last
        claim's turn), lead_ms (how far due times run ahead of a clock that was set back), look:<lane> (where the
        search of a paused lane for expired messages goes on), misdirected:<endpoint> (when Twilio last brought there
        what belongs to the other endpoint), heard:<account> (until when gateways listened
        to what persons wrote), alive_at (the last life sign of a process),
        restoring (of a restored copy, until its open messages are looked for: when it was made), restored_at (when it
        was marked).
        """
        return self._key("meta")

    @property
    def fence(self) -> str:
        """STRING: the last claim's number; microseconds, so that it grows on through a failover."""
        return self._key("fence")

    @property
    def counts(self) -> str:
        """HASH: totals: `enqueued`, `end:<stage>:<reason>`, `unknown`, `resolved:<reason>`, `status:<status>` …"""
        return self._key("counts")

    @property
    def wake(self) -> str:
        """LIST, capped at 64: a token for each lane that became ready; claimers block on it."""
        return self._key("wake")

    # -- a message -----------------------------------------------------------------------------
    def row(self, message_id: str) -> str:
        """HASH: the ledger row; short field names, listed in `ROW_FIELDS`."""
        return self._key(f"m:{message_id}")

    def timeline(self, message_id: str) -> str:
        """LIST of JSON objects: what happened after the enqueue (which the row's `q` tells), in order."""
        return self._key(f"t:{message_id}")

    def sid(self, message_sid: str) -> str:
        """STRING: `<attempt>:<message_id>` of the attempt that Twilio gave this SID."""
        return self._key(f"sid:{message_sid}")

    # -- lanes ---------------------------------------------------------------------------------
    def lane(self, lane: str) -> str:
        """ZSET message_id → due time (ms). `lane` is `<sender>|<priority>|<campaign or nothing>`."""
        return self._key(f"lane:{lane}")

    @property
    def ready(self) -> str:
        """ZSET lane → virtual time: lanes with due work."""
        return self._key("ready")

    @property
    def timers(self) -> str:
        """ZSET lane → due time (ms) of its first message, for lanes without due work."""
        return self._key("timers")

    @property
    def leases(self) -> str:
        """ZSET message_id → lease end (ms)."""
        return self._key("leases")

    @property
    def suspects(self) -> str:
        """ZSET message_id → since (ms): due messages two workers crashed with; not in their lanes, claimed alone."""
        return self._key("suspects")

    def last_claim(self, worker: str) -> str:
        """STRING: request id and message ids of a worker's last claim, so that a repeated call gets the same answer."""
        return self._key(f"claim:{worker}")

    def answered(self, request: str) -> str:
        """STRING with TTL 60 s to 1 h: what a call answered (MessagePack), so that a repeated one gets the same."""
        return self._key(f"did:{request}")

    # -- lists a person reads ------------------------------------------------------------------
    @property
    def unknown(self) -> str:
        """ZSET message_id → when to look for evidence next (ms).

        For a message that waits in a `search` already: when it is put there again, should the `search` be lost.
        """
        return self._key("unknown")

    def search(self, urgency: str, account: str) -> str:
        """ZSET message_id → expires at (ms): unknown messages whose search is due, of one urgency and account."""
        return self._key(f"search:{urgency}|{account}")

    def searching(self, urgency: str) -> str:
        """ZSET account → pass: the ring that shares the searches of one urgency between accounts."""
        return self._key(f"searching:{urgency}")

    @property
    def searches(self) -> str:
        """ZSET urgency → pass: the ring of the urgencies, `1` (login codes) to `5` (marketing)."""
        return self._key("searches")

    @property
    def rings(self) -> str:
        """HASH key of a ring → its virtual time: the pass that was served last."""
        return self._key("rings")

    @property
    def unresolved(self) -> str:
        """ZSET message_id → since (ms)."""
        return self._key("unresolved")

    @property
    def dead(self) -> str:
        """ZSET message_id → since (ms): dead letters."""
        return self._key("dead")

    def unreadable(self, message_id: str) -> str:
        """STRING: the bytes of a job nobody could read, kept whole."""
        return self._key(f"raw:{message_id}")

    @property
    def undelivered(self) -> str:
        """ZSET message_id → accepted at (ms): accepted messages without a final status.

        Once one was asked for, the score moves on, so that it is due again as long after it as after the acceptance.
        """
        return self._key("undelivered")

    def fetch(self, account: str) -> str:
        """ZSET message_id → turn: accepted messages of one account whose status is due to be fetched."""
        return self._key(f"fetch:{account}")

    @property
    def fetches(self) -> str:
        """ZSET account → pass: the ring that shares the fetches of statuses between accounts."""
        return self._key("fetches")

    # -- people and limits ---------------------------------------------------------------------
    def person(self, digest: str) -> str:
        """HASH: revision `r`, windows `w:<sender>`, consent projection `c: d: o: s:`, suppression `x`, blocks `b:…`.

        `xr`: why the address is suppressed; `xt`: `<at>:<attempt>:<message_id>` that taught it. A block is
        `b:<account>|<sender or *>|<holds>|<code>` = `<at>:<ends>:<1: until inbound>:<attempt>:<message_id>`. `al`: when
        an operator allowed the person again; what attempts before it teach later counts no more.
        Suspected stop `h:<account>`: `<since (ms)>|<MessageSid>|<sender>`.
        `sp`: digests of other spellings, whose permits and waiting messages are this person's too. `to`: this record
        was merged into the one of that digest, and what an older release writes here will be.
        """
        return self._key(f"p:{digest}")

    def consents(self, digest: str) -> str:
        """LIST of JSON objects: the consent ledger of a person, at most 512 lines."""
        return self._key(f"consents:{digest}")

    def waiting(self, digest: str, sender: str) -> str:
        """SET of message ids that wait for this person's next inbound to this sender."""
        return self._key(f"wait:{digest}:{sender}")

    @property
    def suspected_stops(self) -> str:
        """ZSET `<person digest>|<account>` → since (ms): suspected stops, one a person and account, until decided."""
        return self._key("suspected_stops")

    def permits(self, digest: str) -> str:
        """ZSET `<attempt>:<message_id>` → permit end (ms): attempts to this person that are open or not proven."""
        return self._key(f"open:{digest}")

    def sent_to(self, digest: str) -> str:
        """ZSET `<attempt>:<message_id>` → ms: POSTs to this person in the last 24 h, for the cap."""
        return self._key(f"cap:{digest}")

    def inbound_seen(self, message_sid: str) -> str:
        """STRING with TTL 48 h: this inbound was applied."""
        return self._key(f"in:{message_sid}")

    def sender(self, name: str) -> str:
        """HASH: revision `r`, account `a`, service `mg`, last known by a worker `at`, `until` (ms), `reason`.

        `n`: how many attempts were admitted.
        """
        return self._key(f"sender:{name}")

    def errors_of(self, sender: str) -> str:
        """ZSET `<attempt>:<message_id>` → number of the sender's attempt it was heard at: errors about persons.

        As many of the newest as `[error_guard]` of the policy has to count.
        """
        return self._key(f"errors:{sender}")

    def held(self, sender: str) -> str:
        """LIST of JSON objects, at most 10,000: what such errors would change, kept aside for an operator."""
        return self._key(f"held:{sender}")

    @property
    def processes(self) -> str:
        """ZSET process id → ms of its last word: the processes that are alive."""
        return self._key("processes")

    def process(self, process_id: str) -> str:
        """STRING with TTL 30 s: JSON with a living process's role and the digests of its settings."""
        return self._key(f"process:{process_id}")

    @property
    def names(self) -> str:
        """HASH, for good: `account|<sid>` → name, `sender|<name>` → address, `address|<account>|<address>` → sender."""
        return self._key("names")

    def account(self, name: str) -> str:
        """HASH: revision `r`, `until` (ms), `reason`."""
        return self._key(f"account:{name}")

    @property
    def contents(self) -> str:
        """HASH `<template>|<language or nothing>` → ContentSid, as the last worker to start has it; none is removed."""
        return self._key("contents")

    def template(self, content_sid: str) -> str:
        """HASH: revision `r`, `state` (overrides the approval), last known by a worker `at`, `until`, `reason`."""
        return self._key(f"template:{content_sid}")

    def tag_state(self, sender: str) -> str:
        """HASH: ACCOUNT_UPDATE on this Page: revision `r`, `state` (unproven, proven, dead), `message`, `until`."""
        return self._key(f"tag:{sender}")


ROW_FIELDS: Final = {
    "s": "stage",
    "l": "lane",
    "d": "digest of the content, for idempotency",
    "q": "enqueued at (ms)",
    "e": "expires at (ms)",
    "nb": "not before (ms), absent when none",
    "u": "on_unknown",
    "n": "number of the last attempt (POSTs admitted)",
    "f": "fence of the last claim; `-` before it: settled, `~`: given back",
    "p": "person digest of the last admission",
    "k": "crashes in a row",
    "po": "1 when it crashed too many workers after its intent; a dead letter instead of being sent again",
    "x": "1 when cancel was asked for; nothing is sent after it, whatever a worker or a person asks for",
    "lf": "which life it is in; absent in the first. A reported failure, a replay or a retry begins another",
    "rd": "1 when the one re-decision after 63016 was used",
    "r": "reason of the last step",
    "c": "error code of the last step",
    "sid": "MessageSid of the accepted attempt",
    "a": "number of the accepted attempt",
    "st": "provider status, verbatim",
    "sr": "rank that the next status must exceed; one less than the rank of a status that a reply told",
    "z": "ended at (ms)",
    "v": "policy version of the last decision",
    "w": "`<person digest>|<sender>` while waiting for an inbound",
    "li": "digest of the Twilio account and the From of the last attempt: which list at Twilio shows it",
    "g": "group",
    "pr": "revision of the person's facts at the last claim",
    "ps": "1 when it ended although an attempt of it may be at Twilio",
    "rs": "of a restored copy: `<attempt>|<restored at>|<p posted, q not>|<stage>|<due>`, what to go back to",
    "us": "1 when a worker met the message in a stage, or with a number, that only a newer version knows",
    "lo": "searches made for evidence of the unknown attempt",
}
"""Fields of a ledger row. Besides these, fields that begin with `@` are its attempts table (docs/decisions/0018):

`@<attempt>` intent, form and ContentSid; `@<sid>` attempt, rank, flags, status and code of a SID not the row's own;
`@0` how many attempts are no tries; `@~` rank up to which reports were let go; `@-…` what a failure taught.
"""

FOLDED_FIELDS: Final = {
    "i": "intent of the last attempt (ms)",
    "fm": "form of the last attempt: t (template) or f (freeform)",
    "fa": "attempts that retries do not count: admitted but never posted, or before a replay; absent when none",
    "tg": "numbers of the attempts that relied on ACCOUNT_UPDATE and may be on their way or sent",
    "dup": "fence of the claim whose settlement proved a second copy last",
    "ev": "`<attempt>:<sid>`: proof that an attempt was accepted, while it could not be acted on yet",
}
"""Fields that earlier versions wrote. A script that loads the row folds them, `sid:<attempt>` and `cb:<sid>` into the
table. The first four still name what `Record.row` says of the table."""

KEEP_ENDED_MS: Final = 72 * 3600 * 1000
"""How long an ended message's row, timeline and idempotency digest are kept."""


_MARK: Final = "\x00"


def lua_prelude() -> str:
    """Lua that names the same keys: a table `K` of strings and functions, built inside the hash tag of `KEYS[1]`.

    Generated from `Keys`, so that no key is spelled twice. `KEYS[1]` is always the partition's `meta` key.
    """
    keys = Keys(_MARK)
    lines = [
        f"local SCHEMA = {SCHEMA}",
        f"local KEEP_ENDED = {KEEP_ENDED_MS}",
        "local TAG = string.match(KEYS[1], '{.-}')",
    ]
    lines.append("local K = {}")
    for name, member in vars(Keys).items():
        if name.startswith("_") or name in {"partition", "tag"}:
            continue
        if isinstance(member, property):
            lines.append(f"K.{name} = {_lua_concat(getattr(keys, name))}")
        else:
            count = member.__code__.co_argcount - 1
            marks = [chr(1 + index) for index in range(count)]
            arguments = ", ".join(f"a{index + 1}" for index in range(count))
            lines.append(f"K.{name} = function({arguments}) return {_lua_concat(getattr(keys, name)(*marks))} end")
    return "\n".join(lines) + "\n"


def _lua_concat(key: str) -> str:
    text = "'" + key.replace("{" + _MARK + "}", "'..TAG..'") + "'"
    for index in range(1, 4):
        text = text.replace(chr(index), f"'..a{index}..'")
    return "..".join(part for part in text.split("..") if part != "''")
