"""What an error of the provider holds back from a person, apart from what the person consented to.

Laws: a block never stops an answer inside the open session window · one that the person's own act ends does not reach
beyond a grant that they gave since · a block at one sender says nothing about another.
"""

from typing import Final

from policies.case import Case
from policies.consent import earliest
from policies.decision import Decision
from policies.facts import BlockFact, Holds
from sendwindow.vocabulary import Purpose, Reason

_REASONS: Final = {
    Holds.MARKETING: Reason.MARKETING_HELD,
    Holds.ALL_BUT_REPLIES: Reason.PROVIDER_BLOCK,
    Holds.GRANTS: Reason.GRANTS_SUSPENDED,
}


def check_blocks(case: Case) -> Decision | None:
    """Refuse what an error of the provider holds back from the person.

    Source: Twilio, error 63014, read 2026-11-30: blocked "until they re-engage or restore consent".
    """
    for block in case.person.blocks:
        if not _is_in_force(block, case) or not _is_about(block, case):
            continue
        if block.holds is not Holds.MARKETING and case.draft.purpose is Purpose.REPLY and case.window.is_open:
            case.answer_by = earliest(case.answer_by, case.window.closes_at)
            continue
        return case.refuse("blocks", _REASONS[block.holds], f"code {block.code}")
    case.passes("blocks", "" if case.answer_by is None else "an answer")
    return None


def _is_in_force(block: BlockFact, case: Case) -> bool:
    if block.sender not in (None, case.sender.name) or (block.ends_at is not None and case.now >= block.ends_at):
        return False
    counted = case.policy.purposes[case.draft.purpose].granted_by
    return not block.until_inbound or not any(
        fact.granted
        and fact.purpose in counted
        and fact.sender in (None, case.sender.name)
        and block.at < fact.at <= case.now
        for fact in case.person.consents
    )


def _is_about(block: BlockFact, case: Case) -> bool:
    """Return whether the block is about this message. Marketing templates go with the purpose marketing alone."""
    if case.is_confirmation:
        return False
    return block.holds is not Holds.MARKETING or case.draft.purpose is Purpose.MARKETING
