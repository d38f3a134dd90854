"""All policy data as one value: policy, error catalogue, keywords. The worker reads the files and passes them in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from policies import errors, keywords, phrases, policy
from policies.reading import PolicyDataError

FILES: Final = (*policy.FILES, *errors.FILES, *phrases.FILES)
"""The files of `policies/data/` that `parse_rules` wants, by name."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the service goes by. Built once at start."""

    policy: policy.Policy
    errors: errors.ErrorCatalogue
    keywords: keywords.Keywords


def parse_rules(
    data: Mapping[str, Mapping[str, object]],
    overrides: Mapping[str, object] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Rules:
    """Build all rules from parsed TOML, one entry for each name of `FILES`.

    `overrides` as in `parse_policy`, `words` as in `parse_keywords`.

    Raises `PolicyDataError` that lists the faults of every file.
    """
    faults: list[str] = []
    parsed_policy = parsed_errors = parsed_keywords = None
    try:
        parsed_policy = policy.parse_policy(data, overrides)
    except PolicyDataError as error:
        faults.extend(error.faults)
    try:
        parsed_errors = errors.parse_errors(data)
    except PolicyDataError as error:
        faults.extend(error.faults)
    try:
        parsed_keywords = phrases.parse_keywords(data, words)
    except PolicyDataError as error:
        faults.extend(error.faults)
    if parsed_policy is None or parsed_errors is None or parsed_keywords is None:
        raise PolicyDataError(faults)
    return Rules(parsed_policy, parsed_errors, parsed_keywords)
