"""The base of the contract's models.

The models are frozen and accept no unknown fields. For every fault they raise `InvalidMessage`,
which contains no values.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, Self, TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails, PydanticCustomError

from sendwindow.addresses import looks_like_address
from sendwindow.message_errors import Fault, InvalidMessage

_Result = TypeVar("_Result")
_REFUSED: Final = "refused"
_SAFE_KEY: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")

_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "missing": ("is missing", "give it"),
    "extra_forbidden": ("is not a field of the contract", "remove it or correct its name"),
    "string_type": ("is not a text", "give a string"),
    "dict_type": ("is not a dictionary", "give names with their texts"),
    "model_type": ("is not a dictionary", "give a dictionary of its fields"),
    "json_invalid": ("is not JSON", "give one JSON object in UTF-8"),
}
_OTHER: Final = ("is not valid", "compare it with the fields in sendwindow.contract")


class WireModel(BaseModel):
    """A model that raises only `InvalidMessage`.

    `InvalidMessage` is a ValueError. A pydantic model that contains a WireModel therefore reports
    it as one of its own validation errors.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    def __init__(self, /, **data: Any) -> None:
        def build() -> None:
            super(WireModel, self).__init__(**data)

        _only_ours(build)

    # Pydantic uses this mark for an `__init__` that does what BaseModel's does. Inside another
    # model, pydantic then validates the fields directly and reports their faults under the name of
    # the outer field.
    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # a function attribute that mypy cannot know

    @classmethod
    def model_validate(cls, obj: Any, **options: Any) -> Self:
        """Return the model for a dictionary or an instance. Raises InvalidMessage."""
        return _only_ours(lambda: super(WireModel, cls).model_validate(obj, **options))

    @classmethod
    def model_validate_json(cls, json_data: str | bytes | bytearray, **options: Any) -> Self:
        """Return the model for JSON text. Raises InvalidMessage."""
        return _only_ours(lambda: super(WireModel, cls).model_validate_json(json_data, **options))


def _only_ours(validate: Callable[[], _Result]) -> _Result:
    try:
        return validate()
    except ValidationError as error:
        faults = tuple(_faults(error))
    # Raise outside the handler: pydantic's error contains the values, so it must not become the
    # context of ours.
    raise InvalidMessage(faults)


def refusal(problem: str, remedy: str, field: str = "") -> PydanticCustomError:
    """Return the error for a validator to raise.

    `field` names a part of the value that is checked, such as the key of an entry.
    """
    return refusals([(field, problem, remedy)])


def refusals(complaints: list[tuple[str, str, str]]) -> PydanticCustomError:
    """Return one error for several complaints, each of them (field, problem, remedy)."""
    text = " | ".join(
        f"{shown(field)}: {problem}; {remedy}" if field else f"{problem}; {remedy}"
        for field, problem, remedy in complaints
    )
    return PydanticCustomError(_REFUSED, "{text}", {"text": text, "complaints": complaints})


def _faults(error: ValidationError) -> Iterator[Fault]:
    for detail in error.errors(include_url=False, include_input=False):
        place = [shown(part) for part in detail["loc"] if part != "[key]"]
        for field, problem, remedy in _complaints(detail):
            yield Fault(
                ".".join([*place, shown(field)] if field else place) or "message", problem, remedy
            )


def _complaints(detail: ErrorDetails) -> list[tuple[str, str, str]]:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == _REFUSED:
        complaints: list[tuple[str, str, str]] = context["complaints"]
        return complaints
    if kind == "enum":
        return [("", "is not one of the words allowed", f"use {context['expected']}")]
    return [("", *_WORDS.get(kind, _OTHER))]


def shown(part: str | int) -> str:
    """Return the name of a field for an error text.

    A name that comes from the backend appears only if it cannot identify a person.
    """
    text = str(part)
    return (
        text if _SAFE_KEY.fullmatch(text) and not looks_like_address(text) else "(a name not shown)"
    )
