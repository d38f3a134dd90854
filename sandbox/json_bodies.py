"""Reads the JSON bodies of /sandbox, and explains what is wrong with one and what is allowed."""

from typing import Any, Final, TypeVar

from aiohttp import web
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from sandbox.faults import FaultRule, Match

_Body = TypeVar("_Body", bound=BaseModel)

_INSIDE: Final[dict[str | int, type[BaseModel]]] = {"rules": FaultRule, "match": Match}
"""Models within a body, by the name of their member."""
_TYPES: Final = frozenset({"int", "tuple[int, ...]"})
"""What pydantic adds to a location when the value may have several types."""
_WORDS: Final = {
    "missing": "is missing; give it",
    "json_invalid": "is not JSON; send an object",
    "model_type": "must be an object",
    "tuple_type": "must be a list",
    "frozen_set_type": "must be a list",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
}


async def read(request: web.Request, model: type[_Body]) -> _Body:
    """Parse a body. Raises HTTPBadRequest that says what is wrong with it."""
    text = await request.read()
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        raise refused(error, model) from error


async def read_object(request: web.Request) -> dict[str, object]:
    """Parse a body of which only the given members matter.

    Raises HTTPBadRequest when it is not a JSON object.
    """
    try:
        body = await request.json()
    except ValueError as error:
        raise bad("the body is not JSON: send an object") from error
    if not isinstance(body, dict):
        raise bad('the body is not an object: send {"name": value}')
    return body


def refused(error: ValidationError, model: type[BaseModel]) -> web.HTTPBadRequest:
    """Build the answer that names each fault and its location."""
    return bad("; ".join(f"{_place(fault)}: {_words(fault, model)}" for fault in error.errors()))


def bad(text: str) -> web.HTTPBadRequest:
    """Build an answer of one sentence."""
    return web.HTTPBadRequest(
        text=web.json_response({"error": text}).text, content_type="application/json"
    )


def _place(fault: ErrorDetails) -> str:
    return ".".join(str(part) for part in fault["loc"] if part not in _TYPES) or "body"


def _words(fault: ErrorDetails, model: type[BaseModel]) -> str:
    if fault["type"] == "extra_forbidden":
        around: Any = next(
            (_INSIDE[part] for part in reversed(fault["loc"][:-1]) if part in _INSIDE), model
        )
        return (
            "is not known; use "
            f"{', '.join(each.alias or name for name, each in around.model_fields.items())}"
        )
    return _WORDS.get(fault["type"]) or fault["msg"].replace("Input should be", "must be")
