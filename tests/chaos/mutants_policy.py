"""The mutants that break a rule of the policy: name, fault, the rule of `verify` to turn red,
how.
"""

from typing import Final

import policies.decide
from policies.consent import Permission, Standing
from policies.guards import _is_in_force
from tests.chaos.mutants_made import (
    ADMIT,
    CLAIM,
    CONSENT,
    ENQUEUE,
    INBOUND,
    SETTLE,
    Make,
    always_open,
    answers,
    approving,
    both,
    deaf_to_withdrawals,
    edits,
    fitting,
    hearing_ascii,
    leaving_anyhow,
    lua,
    never_ending,
    phones_only,
    post_refused,
    returns,
    reviving_marketing,
    sets,
    split_by_spelling,
    text_instead,
    undoing_at_once,
    unproven_goes,
    with_more,
    with_other,
    without,
)

ANYBODY: Final = Permission(Standing.GRANTED)


def without_rule(name: str) -> Make:
    """Remove a rule from every decision."""
    rules = tuple(rule for rule in policies.decide.RULES if rule.__name__ != name)
    assert len(rules) == len(policies.decide.RULES) - 1, (
        f"there is no rule {name}: adjust the mutant"
    )
    return sets("policies.decide.RULES", rules)


ROWS: Final[tuple[tuple[str, str, str, Make], ...]] = (
    (
        "window_always_open",
        "the session window is never closed",
        "outside_window",
        sets("policies.guards.session_window", always_open),
    ),
    (
        "spelling_ignored",
        "each spelling of a number is a person of its own",
        "after_stop",
        split_by_spelling,
    ),
    (
        "consent_ignored",
        "everybody consents to everything",
        "after_stop",
        sets("policies.guards.permission", returns(ANYBODY)),
    ),
    ("consent_unneeded", "nobody needs to consent", "no_consent", without_rule("check_consent")),
    (
        "page_unasked",
        "who never wrote to a Page gets messages",
        "never_wrote",
        without_rule("check_consent"),
    ),
    (
        "consent_everlasting",
        "consent never ends",
        "consent_expired",
        sets("policies.guards.permission", never_ending),
    ),
    (
        "withdrawal_unheard",
        "what a person withdrew counts on",
        "consent_withdrawn",
        sets("policies.guards.permission", deaf_to_withdrawals),
    ),
    (
        "withdrawal_forgotten",
        "a grant takes the place of a withdrawal, also when it has lapsed",
        "consent_withdrawn",
        lua(
            "  unite_consent(key, F.grants .. scope,",
            "  redis.call('HDEL', key, 'd:' .. scope) unite_consent(key, 'c:' .. scope,",
            CONSENT,
        ),
    ),
    (
        "tie_granted",
        "at the same instant a grant outranks a withdrawal",
        "consent_withdrawn",
        sets("policies.consent._undoes", undoing_at_once),
    ),
    (
        "marketing_revived",
        "a grant of everything brings marketing back",
        "consent_withdrawn",
        sets("policies.consent._undoes", reviving_marketing),
    ),
    (
        "suspicion_ignored",
        "marketing goes on to who may have meant stop",
        "after_suspected_stop",
        without_rule("check_suspected_stop"),
    ),
    (
        "promotions_go_on",
        'the button "Stop promotions" is answered and withdraws nothing',
        "after_marketing_stop",
        lua(
            "    set_purpose(person, account, C.MARKETING, C.ANY, false, at, nil, line)\n",
            "",
            INBOUND,
        ),
    ),
    (
        "words_of_one_alphabet",
        "a stop in another alphabet is not heard",
        "after_stop",
        sets("policies.keywords.Keywords.match", hearing_ascii),
    ),
    (
        "stop_misdirected",
        "a stop at the status URL is kept as a status",
        "after_stop",
        sets("worker.gateway.deferred_store.endpoint_of", lambda _params, came_by: came_by),
    ),
    (
        "stop_not_held",
        "a stop is answered while permits are open",
        "after_stop",
        sets("worker.gateway.inbound_endpoint.wait_for_permits", answers(0)),
    ),
    (
        "jump_believed",
        "a stop is answered when permits have lapsed by the store's clock alone",
        "after_stop",
        sets("worker.gateway.stop_barrier.PERMIT_SECONDS", 0.0),
    ),
    (
        "departure_unchecked",
        "the permit is not looked at where the first byte leaves",
        "after_stop",
        sets("worker.twilio.departure.Departure.leave", leaving_anyhow),
    ),
    (
        "stale_admitted",
        "admission does not ask whether the person's facts are still the same",
        "after_stop",
        lua("and is_unchanged(K.person(request.person), seen.person)", "", ADMIT),
    ),
    (
        "expiry_ignored",
        "neither decision nor admission nor POST looks at the time",
        "after_expiry",
        both(
            without_rule("check_expiry"),
            lua("return now < request.valid_until", "return true", ADMIT),
            sets(
                "worker.pipeline.attempt.Attempt.start_by",
                lambda _run, _send, permit, _now: permit.lapses_at,
            ),
        ),
    ),
    (
        "validity_longest",
        "Twilio may keep every message for ten hours",
        "validity_beyond_window",
        with_other("ValidityPeriod", lambda _: "36000"),
    ),
    (
        "start_ignored",
        "nothing waits for its not_before",
        "too_early",
        both(
            without_rule("check_not_before"),
            both(
                lua(
                    "local is_later = not_before and not_before > now",
                    "local is_later = false",
                    ENQUEUE,
                ),
                lua("elseif starts_later(row) then", "elseif false then", CLAIM),
            ),
        ),
    ),
    (
        "window_asked_of_templates",
        "a template refused for the window is sent again",
        "closed_again",
        lua(
            "if settlement.redecided and not may_redecide(row, settlement.attempt, settlement)",
            "if false",
            SETTLE,
        ),
    ),
    (
        "suppression_ignored",
        "unusable addresses are tried again",
        "told_unusable",
        without_rule("check_suppression"),
    ),
    (
        "blocks_ignored",
        "what an error holds back goes out",
        "held_back",
        without_rule("check_blocks"),
    ),
    (
        "cap_ignored",
        "marketing goes on after 63049",
        "held_back",
        sets(
            "policies.guards._is_in_force",
            lambda block, case: block.until_inbound and _is_in_force(block, case),
        ),
    ),
    (
        "refusal_sent",
        "what was refused goes out",
        "undecided",
        sets("worker.pipeline.pipeline.Pipeline._not_sent", post_refused),
    ),
    ("form_swapped", "templates go out as text", "other_form", edits(text_instead)),
    (
        "variables_dropped",
        "templates go out without values",
        "missing_variables",
        without("ContentVariables"),
    ),
    (
        "variable_added",
        "templates get a value too many",
        "undeclared_variables",
        with_other("ContentVariables", lambda text: text.replace("}", ',"9":"surplus"}')),
    ),
    (
        "value_empty",
        "templates go out with an empty value",
        "bad_variables",
        with_other("ContentVariables", lambda _: '{"1":""}'),
    ),
    (
        "value_long",
        "nobody counts what a template grows to",
        "template_too_long",
        with_other("ContentVariables", lambda _: '{"1":"' + "x" * 1025 + '"}'),
    ),
    (
        "media_added",
        "every message gets a picture",
        "media_with_template",
        with_more("MediaUrl", "https://example.com/picture.png"),
    ),
    (
        "template_mistaken",
        "templates go out under another ContentSid",
        "unknown_template",
        with_other("ContentSid", lambda _: "HX" + "9" * 32),
    ),
    (
        "template_unchecked",
        "rejected templates are used",
        "template_not_approved",
        sets("policies.content.pick_template", approving),
    ),
    (
        "category_unchecked",
        "a template of any category serves any purpose",
        "category",
        sets("policies.content.pick_template", fitting()),
    ),
    (
        "phone_unneeded",
        "authentication templates go to user ids",
        "needs_phone",
        sets("policies.content.pick_template", phones_only),
    ),
    (
        "us_marketing_on",
        "marketing templates go to the United States",
        "us_marketing",
        sets("policies.templates.is_us_number", returns(False)),
    ),
    (
        "tags_unproven",
        "a Page sends one unproven ACCOUNT_UPDATE after the other",
        "second_unproven_tag",
        both(
            sets("policies.content.tag_problem", unproven_goes),
            lua("if state ~= 'proven' and in_flight == '1' then", "if false then", ADMIT),
        ),
    ),
    (
        "tag_breaker_off",
        "nothing is learnt from a dead ACCOUNT_UPDATE",
        "tag_known_dead",
        both(
            sets("worker.status_updates.tag_after", returns(None)),
            sets("worker.pipeline.outcomes.tag_after", returns(None)),
        ),
    ),
)
