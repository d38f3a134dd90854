"""What `from sendwindow import …` offers, and that importing the package loads nothing else."""

import ast
import importlib
from pathlib import Path
from typing import assert_type

import pytest

import sendwindow
from sendwindow import contract, producer, sync, vocabulary


def typed_homes(root: Path) -> dict[str, tuple[str, str]]:
    """Return each name that type checkers see, with its module and its name there."""
    tree = ast.parse((root / "sendwindow/__init__.py").read_text())
    [guard] = [node for node in tree.body if isinstance(node, ast.If)]
    return {
        alias.asname or alias.name: (node.module or "", alias.name)
        for node in guard.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }


@pytest.mark.parametrize("name", sendwindow.__all__)
def test_a_name_is_what_type_checkers_take_it_for(name: str, root: Path) -> None:
    """Each name is the very object of the module that type checkers and editors see it in."""
    module, there = typed_homes(root)[name]
    assert getattr(sendwindow, name) is getattr(importlib.import_module(module), there)


def test_type_checkers_see_every_name_and_no_other(root: Path) -> None:
    """The names for type checkers, `__all__`, `dir` and `import *` agree."""
    assert set(typed_homes(root)) == set(sendwindow.__all__)
    assert set(sendwindow.__all__) <= set(dir(sendwindow))
    everything: dict[str, object] = {}
    exec("from sendwindow import *", everything)  # noqa: S102 -- the statement is the subject here
    assert set(sendwindow.__all__) <= set(everything)


def test_names_keep_their_types() -> None:
    """A name has the type of its module, so that mypy checks a backend that uses it."""
    message = sendwindow.SendMessage(
        to="+447700900101",
        sender="text",
        purpose=sendwindow.Purpose.REPLY,
        freeform=sendwindow.Freeform(body="We open at nine."),
    )
    assert_type(message, contract.SendMessage)
    assert_type(message.purpose, vocabulary.Purpose)
    assert sendwindow.Producer is producer.Producer
    assert sendwindow.SyncProducer is sync.Producer


def test_an_unknown_name_is_an_error() -> None:
    """A misspelt name fails as in any module, and a submodule is still importable."""
    with pytest.raises(AttributeError, match="module 'sendwindow' has no attribute 'Prodcer'"):
        getattr(sendwindow, "Prodcer")  # noqa: B009 -- mypy rejects the attribute
    with pytest.raises(ImportError):
        exec("from sendwindow import Prodcer", {})  # noqa: S102 -- the statement is the subject here
