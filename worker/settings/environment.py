"""Lists the environment variables that have a meaning, and reports any other with our prefix."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any, Final

from worker.settings.reader import ENVIRONMENT, SettingsReader
from worker.settings.schema import FLAT_SECTIONS, NAMED_SECTIONS

PREFIX: Final = "SENDWINDOW_"
FILE_VARIABLE: Final = "SENDWINDOW_CONFIG"
DATA_VARIABLE: Final = "SENDWINDOW_DATA"

_OTHERS: Final = frozenset(
    {
        FILE_VARIABLE,
        DATA_VARIABLE,
        "SENDWINDOW_PERSON_KEY",  # deploy/compose.yaml
        "SENDWINDOW_TOML",  # deploy/compose.yaml
        "SENDWINDOW_CI_LIMITED",  # .ci/run
    }
)
"""Variables with our prefix that are not settings."""

_SERVICE_LINK: Final = re.compile(
    rf"{PREFIX}(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)"
)
"""The variables that Kubernetes sets in every container of a namespace for a Service.

They have our prefix when the Service's name begins with `sendwindow`. Source:
https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables
"""


def check_variables(reader: SettingsReader, data: Mapping[str, Any]) -> None:
    """Check that every variable with our prefix has a meaning. Faults go to the reader.

    A guard with a mistyped name would otherwise be silently missing. `data` is the settings file,
    which may refer to any variable as `env:NAME`.
    """
    settings = {
        f"{PREFIX}{section.upper()}_{member.name.upper()}"
        for section, shape in FLAT_SECTIONS.items()
        for member in fields(shape)
    }
    known = settings | _OTHERS | set(_references(data))
    known |= set(_references([text for name, text in reader.environ.items() if name in settings]))
    for name in sorted(reader.environ):
        if name.startswith(PREFIX) and name not in known:
            reader.fault(name, *_about_variable(name, settings), ENVIRONMENT)


def _references(value: object) -> Iterator[str]:
    """Yield the name of every variable that a value, or anything inside it, refers to."""
    if isinstance(value, str):
        kind, _, name = value.strip().partition(":")
        if kind == "env":
            yield name
    elif isinstance(value, Mapping):
        yield from _references(list(value.values()))
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def without_service_links(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without the variables that only Kubernetes sets.

    Its SENDWINDOW_GATEWAY_PORT, for example, is not our setting of that name.
    """
    return {name: text for name, text in environ.items() if not _is_service_link(name, text)}


def _is_service_link(name: str, text: str) -> bool:
    is_port = name.endswith("_PORT") and text.startswith(("tcp://", "udp://", "sctp://"))
    return name.startswith(PREFIX) and (is_port or _SERVICE_LINK.fullmatch(name) is not None)


def _about_variable(name: str, settings: Iterable[str]) -> tuple[str, str]:
    """Return what is wrong with a variable that no setting has, and the remedy."""
    word = name.removeprefix(PREFIX)
    section = word.partition("_")[0].lower()
    for named in NAMED_SECTIONS:
        if section in {named, named.removesuffix("s")}:
            return (
                f"{named} are set in the file only",
                f"write [{named}.NAME] there, and a secret in it as env:NAME",
            )
    # Compare without the prefix: all names share it, so any two of them would look similar.
    words = [one.removeprefix(PREFIX) for one in (*sorted(settings), FILE_VARIABLE, DATA_VARIABLE)]
    if near := difflib.get_close_matches(word, words, n=1):
        return "there is no such setting", f"did you mean {PREFIX}{near[0]}?"
    if section in FLAT_SECTIONS:
        own = sorted(one for one in settings if one.startswith(f"{PREFIX}{section.upper()}_"))
        return "there is no such setting", f"known: {', '.join(own)}"
    sections = ", ".join(FLAT_SECTIONS)
    return (
        "there is no such setting",
        f"unset it, or write {PREFIX}<SECTION>_<KEY> with one of: {sections}",
    )
