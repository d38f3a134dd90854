"""What only a producer refuses: a job with it that is already queued is read and decided."""

from typing import Any

import pytest

from sendwindow.errors import InvalidMessage
from sendwindow.protocol import prepare
from tests.sendwindow.rig import a_message

SMS = "+14155550100"


def _wish(**template: Any) -> dict[str, Any]:
    return {"template": {"name": "t", **template}}


@pytest.mark.parametrize(
    "fields",
    [
        {},
        _wish(),
        _wish(language="fil"),
        _wish(language="pt_BR", variables={"1": "x" * 1024, "2": "x" * 1024}),
        {"to": SMS} | _wish(variables={"1": "x" * 1600}),
    ],
)
def test_the_near_side_of_every_limit_is_prepared(fields: dict[str, Any]) -> None:
    """A limit is the last value that passes, and only WhatsApp has one for its templates."""
    message = a_message(**fields)
    assert prepare(message).message is message


@pytest.mark.parametrize("language", ["pt-BR", "EN", "pt_br", "zh_Hant_TW"])
def test_a_language_that_no_template_can_have_is_refused(language: str) -> None:
    """A language in another form than WhatsApp's is refused, because it would match no template."""
    with pytest.raises(
        InvalidMessage, match=r"template\.language: is not written as WhatsApp does; use"
    ):
        prepare(a_message(to=SMS, **_wish(language=language)))


def test_a_variable_named_like_a_person_is_not_repeated() -> None:
    """A value in the place of a variable's name is not in the error."""
    with pytest.raises(InvalidMessage) as caught:
        prepare(a_message(**_wish(variables={"14155550100": "x" * 1025})))
    assert [fault.field for fault in caught.value.faults] == [
        "template.variables.(a name not shown)"
    ]


def test_all_faults_of_a_template_are_named_at_once() -> None:
    """All faults of a template are listed without their values.

    Twilio would queue a value that is too long and only then fail it.
    """
    with pytest.raises(InvalidMessage) as caught:
        prepare(
            a_message(**_wish(language="pt-BR", variables={"1": "x" * 1024, "code": "😀" * 513}))
        )
    assert [fault.field for fault in caught.value.faults] == [
        "template.language",
        "template.variables.code",
    ]
    assert "has 1026 UTF-16 units, and a WhatsApp template holds 1024 in all (63021)" in str(
        caught.value
    )
    assert "pt-BR" not in str(caught.value)
    assert "😀" not in str(caught.value)
