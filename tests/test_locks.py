"""The locks name every package: for each extra, each supported Python, each platform.

`pip check` does not look at extras.
"""

import importlib.util
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

PROJECT: Final = ["worker"]
"""The extras that locks/worker.txt adds to the dependencies of the library."""

EXTRAS: Final = {
    "worker": PROJECT,
    "run": [*PROJECT, "embedded"],
    "dev": [*PROJECT, "embedded", "dev"],
}

PLATFORMS: Final = (
    {"sys_platform": "linux", "platform_system": "Linux"},
    {"sys_platform": "darwin"},
)


def environments(root: Path) -> Iterator[dict[str, str]]:
    """Yield the marker values of each Python in the classifiers, and of Debian 12's 3.11.2."""
    prefix = "Programming Language :: Python :: 3."
    classifiers = tomllib.loads((root / "pyproject.toml").read_text())["project"]["classifiers"]
    minors = [text.removeprefix(prefix) for text in classifiers if text.startswith(prefix)]
    assert minors
    for full in ["3.11.2", *(f"3.{minor}.9" for minor in minors)]:
        for platform in PLATFORMS:
            yield {
                "python_version": full.rpartition(".")[0],
                "python_full_version": full,
                **platform,
            }


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock as one environment reads it, with the metadata of the installed packages."""

    pins: Mapping[str, SpecifierSet]
    metadata: Mapping[str, Distribution]
    environment: dict[str, str]

    def absent(self, *roots: Requirement) -> list[str]:
        """Return a sentence for each requirement, also an indirect one, that no pin satisfies."""
        found: list[str] = []
        asked: set[tuple[str, str]] = set()
        todo = [
            ("the project", requirement) for requirement in roots if self._applies(requirement, "")
        ]
        while todo:
            who, requirement = todo.pop()
            name = canonicalize_name(requirement.name)
            pin = self.pins.get(name)
            if pin is None or not requirement.specifier.contains(
                str(pin).removeprefix("=="), prereleases=True
            ):
                found.append(f"{who} requires {requirement}: {pin or 'absent'}")
            for extra in ("", *requirement.extras):
                if (name, extra) not in asked:
                    asked.add((name, extra))
                    todo += [(name, wanted) for wanted in self._required(name, extra)]
        return found

    def _required(self, name: str, extra: str) -> list[Requirement]:
        # A requirement of another platform is not installed here, but it was found in the lock.
        texts = self.metadata[name].requires or [] if name in self.metadata else []
        return [wanted for wanted in map(Requirement, texts) if self._applies(wanted, extra)]

    def _applies(self, requirement: Requirement, extra: str) -> bool:
        return requirement.marker is None or requirement.marker.evaluate(
            {**self.environment, "extra": extra}
        )


def read(path: Path, environment: dict[str, str], metadata: Mapping[str, Distribution]) -> Lock:
    lines = [
        line.rstrip(" \\")
        for line in path.read_text().splitlines()
        if "==" in line and line[0] not in "# "
    ]
    applying = [
        pin
        for pin in map(Requirement, lines)
        if pin.marker is None or pin.marker.evaluate(environment)
    ]
    return Lock(
        {canonicalize_name(pin.name): pin.specifier for pin in applying}, metadata, environment
    )


def installed(*folders: Path) -> dict[str, Distribution]:
    found = distributions(path=[str(folder) for folder in folders]) if folders else distributions()
    return {
        canonicalize_name(distribution.metadata["Name"]): distribution for distribution in found
    }


def wanted(root: Path, lock: str) -> list[Requirement]:
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    texts = [
        *project["dependencies"],
        *(text for extra in EXTRAS[lock] for text in optional[extra]),
    ]
    return [Requirement(text) for text in texts]


@pytest.mark.parametrize("lock", EXTRAS)
def test_a_lock_names_all_that_the_project_requires(root: Path, lock: str) -> None:
    """A lock names all requirements with extras, on each Python and platform, since it installs
    unresolved.
    """
    metadata = installed()
    for environment in environments(root):
        found = read(root / "locks" / f"{lock}.txt", environment, metadata).absent(
            *wanted(root, lock)
        )
        assert not found, environment


def test_the_lock_of_the_newest_redis_is_whole(root: Path, newest_redis: Path) -> None:
    """The lock of the newest redis is complete too, since it installs unresolved next to the
    environment.
    """
    for environment in environments(root):
        lock = read(root / "locks" / "newest-redis.txt", environment, installed(newest_redis))
        assert not lock.absent(Requirement("redis>5")), environment


def test_a_package_that_only_an_extra_requires_is_missed(root: Path, tmp_path: Path) -> None:
    """A lock without hiredis, which only redis's extra requires, is incomplete."""
    whole = (root / "locks" / "run.txt").read_text()
    (tmp_path / "run.txt").write_text(whole.replace("\nhiredis==", "\n# hiredis=="))
    environment = next(environments(root))
    found = read(tmp_path / "run.txt", environment, installed()).absent(*wanted(root, "run"))
    assert [sentence.split(":")[0] for sentence in found] == [
        'redis requires hiredis>=3.0.0; extra == "hiredis"'
    ]


def explainer(root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("explain", root / "locks" / "explain.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_several_causes_are_told_once_each(root: Path) -> None:
    """If uv and pip failed for one cause, the advice names it once."""
    printed = (
        "The package `a` requires `b>=1`, but it's not installed\n"
        "a 1.0 requires b, which is not installed.\n"
        "a 1.0 requires c, which is not installed.\n"
        "a 1.0 requires c, which is not installed.\n"
    )
    sentences = explainer(root).explain(printed, "locks/run.txt")
    assert sentences[:-1] == [
        "a requires b>=1, which locks/run.txt does not name.",
        "a requires b, which locks/run.txt does not name.",
        "a requires c, which locks/run.txt does not name.",
    ]


def test_what_is_not_known_is_not_guessed(root: Path) -> None:
    """For an unknown cause the installer's own words stand, and no index is blamed."""
    sentences = explainer(root).explain("error: No space left on device\n", "locks/run.txt")
    assert sentences == ["Installing locks/run.txt failed. The installer's own words are above."]
