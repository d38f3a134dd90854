"""Rate limits in Redis: the Lua agrees with a plain model, and no sliding second has too much."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis import Redis

from policies.rate_limits import PAIR, Pace, pace
from sendwindow.keys import Keys
from sendwindow.scripts import Script
from tests.conftest import StoreUnderTest
from tests.depth import examples
from tests.support.rate_model import SECOND_US, RateModel, Sent, most_in_a_second
from worker.stores.worker_scripts import SOURCES

BEGIN = 1_800_000_000_000_000
"""When the random runs begin (µs)."""

PERSON = "d" * 32
STEPS = Script(
    "steps",
    "#!lua\n"
    + SOURCES.assemble_text(
        "steps",
        """
-- include: give_back_charges, rate_limits
local answers, now = {}, nil
for at = 1, #ARGV do
  local step = cjson.decode(ARGV[at])
  now = step.now
  if step.charges then
    write_limits(now)
    states_by_key, limit_states = {}, {}
    local row = { [F.charges] = step.charges, [F.attempt] = 1, [F.person] = step.person }
    give_back_charges('m', row, step.sender, step.account, now)
    answers[at] = ''
  else
    local limits = limits_of(step, now)
    local reason, ends = limit_in_the_way(limits, step.charge.units, now)
    if reason then
      answers[at] = reason .. ' ' .. int(ends * 1000 + 0.5)
    else
      answers[at] = '1' .. charge_limits(limits, step.charge.units, now)
    end
  end
end
write_limits(now)
-- The instants of the test run faster or slower than the clock by which keys expire.
local keys = { K.account_rate('main'), K.sender_rate('shop') }
for _, key in ipairs(keys) do redis.call('PERSIST', key) end
redis.call('PERSIST', K.pair_rate('"""
        + PERSON
        + """', 'shop'))
return answers
""",
    ),
)


@dataclass(frozen=True, slots=True)
class Step:
    """A message that asks for admission, or (`gives_back`) an earlier one that was not posted."""

    wait: int
    units: int = 1
    gives_back: int | None = None


@dataclass(slots=True)
class Run:
    """What a run of steps admitted, according to the model."""

    paces: dict[str, Pace]
    now: int = BEGIN
    model: RateModel = field(default_factory=RateModel)
    admitted: list[tuple[Sent, dict[str, int]]] = field(default_factory=list)
    returned: set[int] = field(default_factory=set)

    @property
    def sent(self) -> list[Sent]:
        return [one for at, (one, _) in enumerate(self.admitted) if at not in self.returned]

    def take(self, step: Step) -> tuple[str, str | None]:
        """Take one step. Return the argument of the script, and the answer that it must give."""
        self.now += step.wait
        who = {
            "now": self.now / 1000,
            "account": "main",
            "sender": "shop",
            "person": PERSON,
            "is_booked": True,
        }
        if step.gives_back is not None:
            open_ones = [at for at in range(len(self.admitted)) if at not in self.returned]
            if not open_ones:
                return json.dumps({**who, "charges": "0"}), ""
            at = open_ones[-1 - step.gives_back % len(open_ones)]
            self.returned.add(at)
            sent, left = self.admitted[at]
            self.model.give_back(left, sent.units, self.paces)
            return json.dumps({**who, "charges": self._stored(sent, left)}), ""
        charge: dict[str, Any] = {
            name: [one.interval_us, one.tolerance_us] for name, one in self.paces.items()
        }
        asked = json.dumps({**who, "charge": {"units": step.units, **charge}})
        left_now = self.model.admit(self.now, step.units, self.paces)
        if left_now is None:
            return asked, None
        sent = Sent(self.now, step.units)
        self.admitted.append((sent, left_now))
        return asked, self._stored(sent, left_now)

    def _stored(self, sent: Sent, left: dict[str, int]) -> str:
        marks = [
            f" {name[0]}{arrival}-{sent.units * self.paces[name].interval_us}"
            for name, arrival in left.items()
        ]
        return "1" + "".join(marks)


STEP = st.one_of(
    st.builds(Step, st.integers(0, SECOND_US), st.integers(1, 5)),
    st.builds(Step, st.integers(0, 20_000)),
    st.builds(Step, st.integers(0, 20_000), st.just(1), st.integers(0, 5)),
)
LIMIT = st.sampled_from([1, 2, 3, 10, 12, 13, 20, 80])


def _agree(redis: Redis, keys: Keys, run: Run, steps: Sequence[Step], at_once: int = 1) -> None:
    for first in range(0, len(steps), at_once):
        pairs = [run.take(step) for step in steps[first : first + at_once]]
        answers = STEPS.run_sync(redis, keys.meta, [asked for asked, _ in pairs])
        for (_, expected), answer in zip(pairs, answers, strict=True):
            if expected is None:
                assert b"_rate " in answer
            else:
                assert answer.decode() == expected


@pytest.fixture
def redis(store: StoreUnderTest) -> Iterator[Redis]:
    with Redis.from_url(store.url) as connection:
        yield connection


@pytest.fixture
def keys(store: StoreUnderTest) -> Keys:
    return Keys(store.partition)


@settings(max_examples=examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    account=st.none() | LIMIT,
    sender=LIMIT,
    pair=st.booleans(),
    steps=st.lists(STEP, min_size=1, max_size=60),
    at_once=st.integers(1, 8),
)
def test_lua_and_the_model_agree(
    redis: Redis,
    keys: Keys,
    account: int | None,
    sender: int,
    pair: bool,
    steps: list[Step],
    at_once: int,
) -> None:
    """In any order of admissions and give-backs, Lua admits what the model admits and charges the
    same, and no sliding second has more than the limit.
    """
    redis.flushall()
    paces = {"account": pace(account)} if account else {}
    paces |= {"sender": pace(sender)} | ({"pair": PAIR} if pair else {})
    run = Run(paces)
    _agree(redis, keys, run, steps, at_once)
    assert most_in_a_second(run.sent) <= min(sender, account or sender)


def test_a_limit_that_is_always_asked_for_is_used_and_never_exceeded(
    redis: Redis, keys: Keys
) -> None:
    """With more messages than may go out, each second has at least 92 % of the limit and no sliding
    second more than the limit.
    """
    for limit in (1, 12, 80, 400):
        redis.flushall()
        run = Run({"sender": pace(limit)})
        seconds = 4
        step = Step(SECOND_US // (limit * 20))
        _agree(redis, keys, run, [step] * (limit * 20 * seconds), at_once=500)
        assert most_in_a_second(run.sent) <= limit
        assert len(run.sent) >= int(0.92 * limit * seconds)


def test_a_charge_is_not_given_back_behind_a_later_one(redis: Redis, keys: Keys) -> None:
    """The first of two messages was not posted. The second went out when the charge of the first
    was worked off, so a third must wait for the charge of the second.
    """
    run = Run({"sender": Pace(SECOND_US, 0)})
    second = Step(SECOND_US)
    steps = [Step(0), second, Step(SECOND_US // 2, 1, 1), Step(0), Step(SECOND_US // 2)]
    _agree(redis, keys, run, steps)
    assert [one.at - BEGIN for one in run.sent] == [SECOND_US, 2 * SECOND_US]


@pytest.mark.long
def test_the_pair_limit_is_exact_over_100_000_admissions(redis: Redis, keys: Keys) -> None:
    """WhatsApp takes 45 messages at once from a sender to a person, and one more every 6 seconds.
    Each message that this allows goes out, and no other.
    """
    redis.flushall()
    chance = Random(9)
    run = Run({"pair": PAIR})
    waits = (0, 0, 0, 1, SECOND_US, 6 * SECOND_US, 6 * SECOND_US - 1, 60 * SECOND_US)
    while len(run.sent) < 100_000:
        _agree(redis, keys, run, [Step(chance.choice(waits)) for _ in range(1000)], at_once=500)
    sent = [one.at for one in run.sent]
    # The most that n messages may be ahead: 45, and one for each 6 seconds. A running maximum
    # compares every two of them.
    ahead = [PAIR.interval_us * at - instant for at, instant in enumerate(sent)]
    lowest = ahead[0]
    for one in ahead:
        lowest = min(lowest, one)
        assert one - lowest <= PAIR.tolerance_us


@pytest.mark.parametrize("before, after", [(80, 10), (10, 80)])
def test_a_changed_limit_keeps_what_was_charged(
    redis: Redis, keys: Keys, before: int, after: int
) -> None:
    """A limit that is changed while messages go out never gives a second burst."""
    redis.flushall()
    run = Run({"sender": pace(before)})
    _agree(redis, keys, run, [Step(0)] * 100)
    run.paces = {"sender": pace(after)}
    _agree(redis, keys, run, [Step(0)] * 100)
    assert len(run.sent) <= max(before, after)


def test_an_arrival_time_far_ahead_is_shortened(redis: Redis, keys: Keys) -> None:
    """Once the store's clock was set back, a limit holds messages up for five minutes at most."""
    run = Run({"sender": Pace(SECOND_US, 0)})
    redis.set(keys.sender_rate("shop"), BEGIN + 3600 * SECOND_US)
    asked, _ = run.take(Step(0))
    [answer] = STEPS.run_sync(redis, keys.meta, [asked])
    assert answer == f"sender_rate {BEGIN + 300 * SECOND_US}".encode()


def test_messages_turned_away_together_come_back_one_after_another(
    redis: Redis, keys: Keys
) -> None:
    """Each message that a call turns away gets an instant of its own, an interval apart."""
    run = Run({"sender": Pace(100_000, 0)})
    asked = [run.take(Step(0))[0] for _ in range(4)]
    answers = STEPS.run_sync(redis, keys.meta, asked)
    interval = 100_000
    turns = [f"sender_rate {BEGIN + at * interval}".encode() for at in (1, 2, 3)]
    assert answers[1:] == turns
