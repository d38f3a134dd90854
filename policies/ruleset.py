"""All policy data as one value: policy, error catalogue, keywords.

The worker reads the files and passes them in.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from policies import error_catalogue, keyword_data, keywords, policy
from policies.toml_reader import DataFault, PolicyDataError

FILES: Final = (*policy.FILES, *error_catalogue.FILES, *keyword_data.FILES)
"""The names of the files in `policies/data/` that `parse_ruleset` needs."""


@dataclass(frozen=True, slots=True)
class Ruleset:
    """All rules that a process uses. It is built once at start."""

    policy: policy.Policy
    errors: error_catalogue.ErrorCatalogue
    keywords: keywords.Keywords


def parse_ruleset(
    data: Mapping[str, Mapping[str, object]],
    overrides: Mapping[str, object] | None = None,
    words: Mapping[str, Sequence[str]] | None = None,
) -> Ruleset:
    """Build the ruleset from parsed TOML files.

    `data` maps each name of `FILES` to that file's parsed content. `overrides` is the argument of
    `parse_policy`, and `words` is the argument `extra` of `parse_keywords`. Raises
    `PolicyDataError`, which lists the faults of every file.
    """
    faults: list[DataFault] = []
    parsed_policy = parsed_errors = parsed_keywords = None
    try:
        parsed_policy = policy.parse_policy(data, overrides)
    except PolicyDataError as error:
        faults.extend(error.faults)
    try:
        parsed_errors = error_catalogue.parse_errors(data)
    except PolicyDataError as error:
        faults.extend(error.faults)
    try:
        parsed_keywords = keyword_data.parse_keywords(data, words)
    except PolicyDataError as error:
        faults.extend(error.faults)
    if parsed_policy is None or parsed_errors is None or parsed_keywords is None:
        raise PolicyDataError(faults)
    return Ruleset(parsed_policy, parsed_errors, parsed_keywords)
