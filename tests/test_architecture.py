"""The project's own rules: which package may load what, what the wheel holds, why each
dependency exists.
"""

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement

OWN = {"sendwindow", "policies", "worker", "sandbox", "verify", "docgen"}

LOAD_ALL = """
import importlib, json, pkgutil, sys
sys.path.insert(0, sys.argv[1])
before = set(sys.modules)
for name in sys.argv[2:]:
    package = importlib.import_module(name)
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
        importlib.import_module(module.name)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def modules_loaded_by(folder: Path, *names: str) -> set[str]:
    """Return every module that an import of whole packages loads, without site-packages."""
    command = [sys.executable, "-I", "-S", "-c", LOAD_ALL, str(folder), *names]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    return set(json.loads(answer.stdout))


def imports_of(folder: Path) -> Iterator[tuple[Path, str]]:
    """Return every absolute import of a package, as (file, module)."""
    for path in sorted(folder.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((path, alias.name) for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: imports are absolute"
                assert node.module is not None
                yield path, node.module
                if node.module == "sendwindow":
                    yield from ((path, f"sendwindow.{alias.name}") for alias in node.names)


def test_policies_load_nothing_that_touches_the_world(root: Path) -> None:
    """Importing all of policies loads no third party, network, event loop, randomness or
    logging.
    """
    loaded = modules_loaded_by(root, "policies")
    outside = {name for name in loaded if name.split(".")[0] not in sys.stdlib_module_names | OWN}
    assert outside == set()
    assert (
        loaded
        & {"asyncio", "logging", "random", "selectors", "socket", "ssl", "subprocess", "threading"}
        == set()
    )
    ours = {name for name in loaded if name.split(".")[0] in OWN - {"policies"}}
    assert ours <= {"sendwindow", "sendwindow.vocabulary", "sendwindow.addresses"}


def test_policies_have_no_async(root: Path) -> None:
    """policies/ has no async, because no rule waits."""
    waiting = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    found = [
        f"{path.name}:{node.lineno}"
        for path in sorted((root / "policies").rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, waiting)
    ]
    assert found == []


def test_policies_import_the_standard_library_and_two_modules_of_sendwindow(root: Path) -> None:
    """policies/ imports from sendwindow only the vocabulary and the addresses."""
    allowed = {"sendwindow", "sendwindow.vocabulary", "sendwindow.addresses"}
    strangers = [
        f"{path.name} imports {module}"
        for path, module in imports_of(root / "policies")
        if module.split(".")[0] not in sys.stdlib_module_names | {"policies"}
        and module not in allowed
    ]
    assert strangers == []


def test_the_words_load_without_any_dependency(root: Path) -> None:
    """`sendwindow/__init__.py` loads a name only when it is used. Otherwise `import policies` would
    load redis.
    """
    loaded = modules_loaded_by(root, "sendwindow.vocabulary")
    assert {name.split(".")[0] for name in loaded} <= sys.stdlib_module_names | {"sendwindow"}


def closure(*wanted: str) -> set[str]:
    """Return the distributions that these requirements bring, by normalized names."""
    found: set[str] = set()
    queue = [Requirement(one) for one in wanted]
    while queue:
        requirement = queue.pop()
        name = _normal(requirement.name)
        extras = requirement.extras or {""}
        if requirement.marker is not None and not requirement.marker.evaluate():
            continue
        if name in found and not requirement.extras:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or any(
                needed.marker.evaluate({"extra": extra}) for extra in extras
            ):
                needed.marker = None
                queue.append(needed)
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def project_of(root: Path) -> tuple[list[str], dict[str, list[str]]]:
    """Return the base dependencies and the extras."""
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    return project["dependencies"], project["optional-dependencies"]


@pytest.mark.parametrize(
    ("package", "extra"),
    [
        ("sendwindow", None),
        ("policies", None),
        ("worker", "worker"),
        ("sandbox", "worker"),
        ("verify", "worker"),
        ("docgen", "worker"),
    ],
    ids=str,
)
def test_a_package_imports_only_what_it_declares(
    root: Path, package: str, extra: str | None
) -> None:
    """A package imports only what it declares.

    An import from a tool's dependency would fail in the image.
    """
    base, extras = project_of(root)
    declared = closure(*base, *(extras[extra] if extra else ()))
    providers = importlib.metadata.packages_distributions()
    for path, module in imports_of(root / package):
        top = module.split(".")[0]
        if top not in sys.stdlib_module_names | OWN | {"_typeshed"}:
            assert declared & {_normal(name) for name in providers.get(top, ())}, (
                f"{path} imports {module}"
            )


@pytest.fixture(scope="session")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel and the sdist without network, and return their folder."""
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-d", str(folder)]
    done = subprocess.run(
        command, cwd=root, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return folder


def wheel_of(built: Path) -> zipfile.ZipFile:
    (wheel,) = built.glob("*.whl")
    return zipfile.ZipFile(wheel)


def test_the_wheel_carries_sendwindow_and_nothing_else(root: Path, built: Path) -> None:
    """The wheel holds only sendwindow: `worker` and `policies` must not land in a backend's
    site-packages.
    """
    with wheel_of(built) as wheel:
        names = set(wheel.namelist())
    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"sendwindow"}
    source = {
        str(path.relative_to(root))
        for path in (root / "sendwindow").rglob("*")
        if path.suffix in {".py", ".lua"}
    }
    assert source | {"sendwindow/py.typed"} <= names
    assert any(name.endswith("/LICENSE") for name in names)


def test_the_sdist_is_limited(built: Path) -> None:
    """The sdist builds the wheel and holds nothing of the service, its tests or its tools."""
    (sdist,) = built.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        tops = {name.split("/")[1] for name in archive.getnames()}
    expected = {
        "sendwindow",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "pyproject.toml",
        "PKG-INFO",
        ".gitignore",
        "release",
    }
    assert tops <= expected


USE_PRODUCER = """
import importlib.util, sys
sys.path.insert(0, sys.argv[1])
import sendwindow.producer
from sendwindow import Producer, SendMessage, SyncProducer
print(sendwindow.producer.__file__)
print([name for name in ("worker", "policies", "arq", "aiohttp") if importlib.util.find_spec(name)])
"""


def test_the_wheel_alone_gives_the_producer(root: Path, built: Path, tmp_path: Path) -> None:
    """A backend with only the wheel, redis and pydantic can enqueue."""
    with wheel_of(built) as wheel:
        wheel.extractall(tmp_path)
    base, _ = project_of(root)
    providers = importlib.metadata.packages_distributions()
    needed = closure(*base)
    for top, names in providers.items():
        if needed & {_normal(name) for name in names}:
            for name in {_normal(name) for name in names} & needed:
                _link(name, top, tmp_path)
    command = [sys.executable, "-I", "-S", "-c", USE_PRODUCER, str(tmp_path)]
    answer = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.splitlines() == [str(tmp_path / "sendwindow" / "producer.py"), "[]"]


def _link(distribution: str, top: str, folder: Path) -> None:
    site = Path(str(importlib.metadata.distribution(distribution).locate_file("")))
    for name in (top, f"{top}.py"):
        if (site / name).exists() and not (folder / name).exists():
            (folder / name).symlink_to(site / name)


def test_every_dependency_has_its_reason(root: Path) -> None:
    """Each dependency of pyproject.toml is named in docs/decisions."""
    base, extras = project_of(root)
    records = "\n".join(
        path.read_text() for path in sorted((root / "docs" / "decisions").glob("*.md"))
    )
    named = {_normal(word) for word in re.findall(r"`([A-Za-z0-9._-]+)", records)}
    wanted = {
        _normal(Requirement(text).name)
        for text in [*base, *(one for extra in extras.values() for one in extra)]
    }
    assert wanted <= named, f"without a reason: {sorted(wanted - named)}"
