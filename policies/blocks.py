"""Blocks: messages that we hold back from a person after an error of the provider.

A block is independent of the person's consent.

Laws:

* A block never stops a reply inside the open session window.
* A block that ends with an act of the person stops no message for which they gave a grant since.
* A block at one sender has no effect at another sender.
"""

from typing import Final

from policies.consent import earliest
from policies.decision import Decision
from policies.evaluation import Evaluation
from policies.facts import BlockFact, Holds
from sendwindow.vocabulary import Purpose, Reason

_REASONS: Final = {
    Holds.MARKETING: Reason.MARKETING_HELD,
    Holds.ALL_BUT_REPLIES: Reason.PROVIDER_BLOCK,
    Holds.GRANTS: Reason.GRANTS_SUSPENDED,
}


def check_blocks(case: Evaluation) -> Decision | None:
    """Refuse a message that a block holds back from the person.

    Source: Twilio, error 63014, read 2026-11-30: blocked "until they re-engage or restore consent".
    """
    for block in case.person.blocks:
        if not _is_in_force(block, case) or not _is_about(block, case):
            continue
        if (
            block.holds is not Holds.MARKETING
            and case.draft.purpose is Purpose.REPLY
            and case.window.is_open
        ):
            case.answer_by = earliest(case.answer_by, case.window.closes_at)
            continue
        return case.refuse("blocks", _REASONS[block.holds], f"code {block.code}")
    case.passes("blocks", "" if case.answer_by is None else "an answer")
    return None


def _is_in_force(block: BlockFact, case: Evaluation) -> bool:
    if block.sender not in (None, case.sender.name) or (
        block.ends_at is not None and case.now >= block.ends_at
    ):
        return False
    counted = case.policy.purposes[case.draft.purpose].granted_by
    return not block.until_inbound or not any(
        fact.granted
        and fact.purpose in counted
        and fact.sender in (None, case.sender.name)
        and block.at < fact.at <= case.now
        for fact in case.person.consents
    )


def _is_about(block: BlockFact, case: Evaluation) -> bool:
    """Return whether the block concerns this message.

    It is enough to compare the purpose: a marketing template needs the purpose marketing.
    """
    if case.is_confirmation:
        return False
    return block.holds is not Holds.MARKETING or case.draft.purpose is Purpose.MARKETING
