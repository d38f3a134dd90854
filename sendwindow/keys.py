"""Names every Redis key of a partition, and generates Lua code that names the same keys.

This is the only place where a key is spelled. Every key of a partition carries its hash tag, so
that a partition fits in one Cluster slot. No key holds an address: a person appears as a keyed
digest, and an id that looks like an address is refused.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final

ARQ_JOB: Final = "arq:job:"
"""Prefix of the key of a job that a plain arq producer wrote. The job id follows it."""

ARQ_ABORT: Final = "arq:abort"
"""ZSET of the ids of jobs that plain arq producers asked to abort. arq gives it no hash tag."""

SCHEMA: Final = 1
"""Version of the stored layout. Every process refuses a store with another version."""


def knows_layout(schema: bytes | str | None) -> bool:
    """Return whether this release can read a store with this `schema`.

    `schema` is None for a new store. A value that is not a number counts as an unknown layout.
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

    # Keys that arq defines.
    def job_id(self, message_id: str) -> str:
        return self.tag + message_id

    def job(self, message_id: str) -> str:
        """STRING: the job in arq's wire format. It is kept until the message ends."""
        return f"arq:job:{self.tag}{message_id}"

    @property
    def ingress(self) -> str:
        """ZSET: where plain arq producers enqueue. Workers read it every 250 ms."""
        return f"arq:{self.tag}:queue"

    @property
    def periodic(self) -> str:
        """ZSET: the queue of arq's own `Worker`, which runs the periodic work of the partition."""
        return f"arq:{self.tag}:periodic"

    # The whole store.
    @property
    def meta(self) -> str:
        """HASH: facts about the whole store.

        `schema`: the version of the layout. `profile`: `live` or `sandbox`. `person_key`: the
        fingerprint of the key for person digests. `offset_ms`: only in the sandbox. `pressure`: 0
        to 100. `arrivals`: how many members entered a ring, modulo 65,536. `durable`: rewritten
        before each WAIT.

        `called`, `called_until`: the worker that drains for a suspect, and until when.

        `reap_at`: when a worker last asked to reap. `reap_from`: no reaping before this time.
        `reap_grace`: by how many ms reaping was postponed. `reap_graces`: how many times in a row.

        `clock_at`: the time of the last claim. `lead_ms`: how far due times run ahead of a store
        clock that was set back.

        `misdirected:<endpoint>`: when Twilio last sent a request to this endpoint that belongs to
        the other one. `heard:<account>`: until when a gateway is known to have received the inbound
        messages of this account.

        `alive_at`: the last time a process showed that it is alive. `last:<process id>`: what it
        reported last, which outlives its entry. `absent_until`: processes without an entry may
        come back until then, because the store was away.

        `salt`: of the digests in the names of `newest` keys.

        `restoring`: only in a restored
        copy, until the search for its open messages is done: when the copy was made. `restored_at`:
        when the copy was marked as restored.
        """
        return self._key("meta")

    @property
    def fence(self) -> str:
        """STRING: the fence of the last claim.

        It is a time in microseconds, so that it keeps growing across a failover.
        """
        return self._key("fence")

    @property
    def counts(self) -> str:
        """HASH: totals.

        `enqueued`, `end:<stage>:<reason>`, `unknown`, `resolved:<reason>`, `status:<status>` and
        others.
        """
        return self._key("counts")

    @property
    def wake(self) -> str:
        """LIST of at most 64: one token for each lane that became ready. Claimers block on it."""
        return self._key("wake")

    @property
    def cancel_asked(self) -> str:
        """LIST of message ids whose cancel was asked for and whose end no worker has recorded yet.

        Each message is in it at most once.
        """
        return self._key("cancel_asked")

    # A message.
    def row(self, message_id: str) -> str:
        """HASH: the row of the message. `RowField` lists its short field names."""
        return self._key(f"m:{message_id}")

    def timeline(self, message_id: str) -> str:
        """LIST of JSON objects: what happened after the enqueue, in order.

        The enqueue itself is in field `q` of the row.
        """
        return self._key(f"t:{message_id}")

    def sid(self, message_sid: str) -> str:
        """STRING: `<attempt>:<message_id>` of the attempt to which Twilio gave this SID."""
        return self._key(f"sid:{message_sid}")

    # Lanes.
    def lane(self, lane: str) -> str:
        """ZSET message_id → due time (ms).

        `lane` is `<sender>|<priority>|<campaign or nothing>`.
        """
        return self._key(f"lane:{lane}")

    @property
    def queued(self) -> str:
        """HASH sender → how many messages are in its lanes.

        A library older than 0.1.0 queues without counting, so the count may be too low, and ends
        what it cancels without counting, so it may be too high. A worker counts the messages of a
        sender again when its queue seems full.
        """
        return self._key("queued")

    @property
    def ready(self) -> str:
        """ZSET lane → order: the lanes that got due messages since a claim looked.

        A claim moves them into the rings, the lowest order first. Producers older than 0.1.0 write
        the lowest order that is there.
        """
        return self._key("ready")

    @property
    def marks(self) -> str:
        """HASH sender → how many of its lanes are in `ready`. `|` counts the marks of all."""
        return self._key("marks")

    @property
    def timers(self) -> str:
        """ZSET lane → due time (ms): the lanes with messages that fall due later."""
        return self._key("timers")

    def ring(self, name: str) -> str:
        """ZSET member → pass and order of arrival: who has work, and whose turn it is.

        `classes`: the classes of priorities with work, and `expired`. `<class>`: its accounts.
        `<class>|senders|<account>`: the senders of an account. `<class>|lanes|<sender>`: the lanes
        of a sender that have due messages. A score is 65,536 passes and the order of arrival.
        """
        return self._key(f"ring:{name}")

    def rested(self, name: str) -> str:
        """ZSET member → pass: members of a ring that are without work, until they are overtaken.

        `|` holds the virtual time of the ring: the pass that had the last turn. The key goes when
        the ring is empty.
        """
        return self._key(f"rested:{name}")

    @property
    def parked(self) -> str:
        """ZSET `sender|<name>`, `account|<name>` or `campaign|<sender>|<campaign>` → until (ms).

        They give no messages now. They are in no ring, whatever is queued for them. A campaign that
        was resumed has the score 0 until the next claim.
        """
        return self._key("parked")

    def campaign(self, name: str) -> str:
        """HASH: the state of a campaign, whose name is `<sender>|<campaign>`.

        `until` (ms): its pause. `swept`: while messages of it are ended, how far that got.
        """
        return self._key(f"campaign:{name}")

    def newest(self, digest: str) -> str:
        """STRING with a TTL: the id of the newest message with this `supersedes`.

        The digest is that of sender, address and `supersedes`, with a salt that only the store has.
        """
        return self._key(f"newest:{digest}")

    @property
    def cancelled_campaigns(self) -> str:
        """ZSET `<sender>|<campaign>` → when it was cancelled last (ms).

        Its messages that were enqueued until then are cancelled. An entry is kept for 90 days.
        """
        return self._key("cancelled_campaigns")

    @property
    def campaign_sweeps(self) -> str:
        """ZSET `<sender>|<campaign>` → when it was cancelled (ms).

        Queued messages of it may be left whose end no worker has recorded yet.
        """
        return self._key("campaign_sweeps")

    @property
    def unlisted(self) -> str:
        """ZSET lane → since (ms): lanes whose messages are to be listed by their expiry."""
        return self._key("unlisted")

    @property
    def listed(self) -> str:
        """HASH lane → how far its messages are listed by their expiry.

        `<due time> <message_id>`: up to this message. `(<due time>`: up to this time.
        """
        return self._key("listed")

    def expiring(self, minute: str) -> str:
        """LIST of the ids of messages that expire in a minute, counted since 1970.

        An id stays until the minute is over, whatever became of the message meanwhile.
        """
        return self._key(f"expiring:{minute}")

    @property
    def expiries(self) -> str:
        """ZSET minute → its end (ms): the minutes that have such a list."""
        return self._key("expiries")

    @property
    def leases(self) -> str:
        """ZSET message_id → when its lease ends (ms)."""
        return self._key("leases")

    @property
    def suspects(self) -> str:
        """ZSET message_id → since (ms): due messages that two workers crashed on.

        They are not in their lanes. A worker claims each of them alone.
        """
        return self._key("suspects")

    def last_claim(self, worker: str) -> str:
        """STRING: the request id and the message ids of a worker's last claim.

        With it, a repeated call gets the same answer.
        """
        return self._key(f"claim:{worker}")

    def answered(self, request: str) -> str:
        """STRING with a TTL of 60 s to 1 h: the answer to a call (MessagePack).

        With it, a repeated call gets the same answer.
        """
        return self._key(f"did:{request}")

    # Lists that an operator reads.
    @property
    def unknown(self) -> str:
        """ZSET message_id → when to look for evidence next (ms).

        For a message that is already in a `search`, this is when it is put there again in case the
        `search` was lost.
        """
        return self._key("unknown")

    def search(self, urgency: str, account: str) -> str:
        """ZSET message_id → expires at (ms): unknown messages for which a search is due.

        There is one set for each urgency and account.
        """
        return self._key(f"search:{urgency}|{account}")

    def searching(self, urgency: str) -> str:
        """ZSET account → pass: the ring that divides the searches of one urgency among accounts."""
        return self._key(f"searching:{urgency}")

    @property
    def searches(self) -> str:
        """ZSET urgency → pass: the ring of urgencies, from `1` (login codes) to `5` (marketing)."""
        return self._key("searches")

    @property
    def rings(self) -> str:
        """HASH key of a ring → its virtual time, which is the pass that was served last."""
        return self._key("rings")

    @property
    def unresolved(self) -> str:
        """ZSET message_id → since (ms): messages in the stage unresolved."""
        return self._key("unresolved")

    @property
    def dead(self) -> str:
        """ZSET message_id → since (ms): dead letters."""
        return self._key("dead")

    def unreadable(self, message_id: str) -> str:
        """STRING: the complete bytes of a job that could not be read."""
        return self._key(f"raw:{message_id}")

    @property
    def undelivered(self) -> str:
        """ZSET message_id → accepted at (ms): accepted messages without a final status.

        A message is due for a fetch of its status at a fixed time after its score. Each fetch moves
        the score forward, so that the message becomes due again.
        """
        return self._key("undelivered")

    def fetch(self, account: str) -> str:
        """ZSET message_id → turn: accepted messages of an account whose status is to be fetched."""
        return self._key(f"fetch:{account}")

    @property
    def fetches(self) -> str:
        """ZSET account → pass: the ring that divides the status fetches among accounts."""
        return self._key("fetches")

    # People and limits.
    def person(self, digest: str) -> str:
        """HASH: what is known about a person.

        `r`: revision. `w:<sender>`: session windows. `c: d: o: s:`: the state that the consent
        ledger gives.

        `x`: suppression. `xr`: why the address is suppressed. `xt`: the attempt that caused it, as
        `<at>:<attempt>:<message_id>`. `al`: when an operator allowed the person again. An effect of
        an attempt before that time, which arrives later, is ignored.

        `b:<account>|<sender or *>|<holds>|<code>`: a block, as `<at>:<ends>:<1: until
        inbound>:<attempt>:<message_id>`. `h:<account>`: a suspected stop, as
        `<since (ms)>|<MessageSid>|<sender>`.

        `sp`: digests of other spellings. Their permits and waiting messages belong to this person
        too. `to`: this record was merged into the record of that digest. What an older release
        still writes here is merged into it later.
        """
        return self._key(f"p:{digest}")

    def consents(self, digest: str) -> str:
        """LIST of at most 512 JSON objects: the consent ledger of a person."""
        return self._key(f"consents:{digest}")

    def waiting(self, digest: str, sender: str) -> str:
        """SET of the ids of messages that wait for this person's next inbound to this sender."""
        return self._key(f"wait:{digest}:{sender}")

    @property
    def suspected_stops(self) -> str:
        """ZSET `<person digest>|<account>` → since (ms): suspected stops.

        Each person and account has at most one. It stays until an operator decides.
        """
        return self._key("suspected_stops")

    def permits(self, digest: str) -> str:
        """ZSET `<attempt>:<message_id>` → when the permit ends (ms).

        Holds the attempts to this person that are open or whose outcome is not proven.
        """
        return self._key(f"open:{digest}")

    def sent_to(self, digest: str) -> str:
        """ZSET `<attempt>:<message_id>` → ms: POSTs to this person in the last 24 h.

        The cap on messages per person counts them.
        """
        return self._key(f"cap:{digest}")

    def open_posts(self, account: str) -> str:
        """ZSET `<attempt>:<message_id>` → when it stops counting (ms): an account's open POSTs.

        It exists only for an account whose number of open POSTs is limited.
        """
        return self._key(f"posts:{account}")

    def account_rate(self, account: str) -> str:
        """STRING: the arrival time (µs) of the account's rate limit, and behind it the planned one.

        Until then, what was charged is not yet worked off. The key expires then.
        """
        return self._key(f"rate:account:{account}")

    def sender_rate(self, sender: str) -> str:
        """STRING: the same of the sender's rate limit."""
        return self._key(f"rate:sender:{sender}")

    def pair_rate(self, digest: str, sender: str) -> str:
        """STRING: the arrival time (µs) of the rate limit of a WhatsApp sender and one person.

        Behind it stands from when on no message is booked: urgent, then other.
        """
        return self._key(f"pair:{digest}:{sender}")

    def portfolio(self, name: str) -> str:
        """ZSET person digest → time (ms): whom a portfolio wrote to outside an open window.

        The time is that of the last charge. An entry counts for 24 hours.
        """
        return self._key(f"portfolio:{name}")

    def portfolio_booked(self, name: str) -> str:
        """STRING: up to when (ms) the places of a portfolio that become free are booked."""
        return self._key(f"booked:{name}")

    def inbound_seen(self, message_sid: str) -> str:
        """STRING with a TTL of 48 h: marks that this inbound was applied."""
        return self._key(f"in:{message_sid}")

    def sender(self, name: str) -> str:
        """HASH: the state of a sender.

        `r`: revision. `a`: account. `mg`: messaging service. `at`: when a worker last had it in its
        settings. `until` (ms), `reason`: its pause. `n`: how many attempts were admitted. `mq`,
        `mc`: how many messages may be queued for it, and for one campaign of it (0: any number).
        """
        return self._key(f"sender:{name}")

    def errors_of(self, sender: str) -> str:
        """ZSET `<attempt>:<message_id>` → attempt number: errors about persons.

        The number counts the sender's attempts and was current when the error arrived. The set
        holds only as many of the newest errors as `[error_guard]` of the policy needs.
        """
        return self._key(f"errors:{sender}")

    def held(self, sender: str) -> str:
        """LIST of at most 10,000 JSON objects: the held effects of such errors.

        They are not applied until an operator decides.
        """
        return self._key(f"held:{sender}")

    @property
    def processes(self) -> str:
        """ZSET process id → when it last reported (ms): the processes that are alive."""
        return self._key("processes")

    def process(self, process_id: str) -> str:
        """STRING with a TTL of 30 s: JSON object of one process.

        `role`, `settings`: the digest of each section. `release`, `layouts`: first and last layout
        that it can read and write; both absent before 0.1.0. `messages`, `posts`: what a worker
        holds. `waits`: 1 while it does no work, because a process of another release is alive.
        """
        return self._key(f"process:{process_id}")

    @property
    def names(self) -> str:
        """HASH: the names of accounts and senders. It never expires.

        `account|<sid>` → name, `sender|<name>` → address, `address|<account>|<address>` → sender.
        """
        return self._key("names")

    def account(self, name: str) -> str:
        """HASH: revision `r`, `until` (ms), `reason`."""
        return self._key(f"account:{name}")

    @property
    def contents(self) -> str:
        """HASH `<template>|<language or nothing>` → ContentSid.

        The values come from the worker that started last. Entries are never removed.
        """
        return self._key("contents")

    def template(self, content_sid: str) -> str:
        """HASH: the state of a template.

        `r`: revision. `state`: overrides the approval. `at`: when a worker last had it in its
        settings. `until`, `reason`: for how long the state holds, and why.
        """
        return self._key(f"template:{content_sid}")

    def tag_state(self, sender: str) -> str:
        """HASH: the state of ACCOUNT_UPDATE on this Page.

        `r`: revision. `state`: unproven, proven or dead. Also `message` and `until`.
        """
        return self._key(f"tag:{sender}")


KEEP_ENDED_MS: Final = 72 * 3600 * 1000
"""How long the row, the timeline and the idempotency digest of an ended message are kept."""


_MARK: Final = "\x00"


def lua_keys(names: Collection[str]) -> str:
    """Return Lua code that names these keys: a table `K` of strings and functions.

    It is generated from `Keys`, so that no key is spelled twice. `KEYS[1]` is always the `meta` key
    of the partition, and the code takes the hash tag from it. Raises KeyError for a name that is
    not a key.
    """
    tag, lines = "local TAG = string.match(KEYS[1], '{.-}')\n", []
    for name in sorted(names):
        arguments = [f"a{index + 1}" for index in range(_arguments_of(name))]
        code = lua_key(name, arguments)
        if arguments:
            code = f"function({', '.join(arguments)}) return {code} end"
        lines.append(f"  {name} = {code},")
    return tag + ("local K = {\n" + "\n".join(lines) + "\n}\n" if lines else "")


def lua_key(name: str, arguments: Sequence[str]) -> str | None:
    """Return Lua code for one key, which takes the values of these pieces of code.

    Return None if the key takes another number of arguments. Raises KeyError for a name that is not
    a key.
    """
    if _arguments_of(name) != len(arguments):
        return None
    marks = [chr(1 + index) for index in range(len(arguments))]
    member = getattr(Keys(_MARK), name)
    key: str = member(*marks) if marks else member
    text = "'" + key.replace("{" + _MARK + "}", "'..TAG..'") + "'"
    for mark, argument in zip(marks, arguments, strict=True):
        text = text.replace(mark, f"'..{argument}..'")
    return text.removesuffix("..''")


def _arguments_of(name: str) -> int:
    member = vars(Keys)[name]
    return 0 if isinstance(member, property) else member.__code__.co_argcount - 1
