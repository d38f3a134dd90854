"""Checks a built wheel and sdist: their contents and their metadata."""

import base64
import csv
import hashlib
import io
import re
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from email.message import Message
from email.parser import BytesParser
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

IN_SDIST: Final = frozenset(
    {
        "sendwindow",
        "release",
        "README.md",
        "LICENSE",
        "CHANGELOG.md",
        "pyproject.toml",
        "PKG-INFO",
        ".gitignore",
    }
)

_REQUIRED: Final = (
    "Name",
    "Version",
    "Summary",
    "License-Expression",
    "License-File",
    "Requires-Python",
    "Project-URL",
)
_RELATIVE: Final = re.compile(r"\]\((?!https?://|mailto:|#)([^)\s]+)\)")


def faults_of_wheel(path: Path, version: str) -> Iterator[str]:
    """Yield what is wrong with a wheel."""
    with zipfile.ZipFile(path) as wheel:
        contents = {name: wheel.read(name) for name in wheel.namelist()}
    info = f"sendwindow-{version}.dist-info"
    for name in contents:
        if name.split("/")[0] not in {"sendwindow", info}:
            yield f"{name} does not belong in the wheel"
    for name in ("sendwindow/py.typed", f"{info}/licenses/LICENSE"):
        if name not in contents:
            yield f"{name} is missing"
    if path.name != f"sendwindow-{version}-py3-none-any.whl":
        yield f"{path.name} is not the name of a pure wheel of {version}"
    yield from _faults_of_record(contents, f"{info}/RECORD")
    yield from _faults_of_metadata(contents.get(f"{info}/METADATA", b""), version)


def faults_of_sdist(path: Path, version: str) -> Iterator[str]:
    """Yield what is wrong with an sdist."""
    with tarfile.open(path) as archive:
        names = [member.name for member in archive.getmembers() if member.isfile()]
        info = archive.extractfile(f"sendwindow-{version}/PKG-INFO")
        metadata = b"" if info is None else info.read()
    for name in names:
        top, _, rest = name.partition("/")
        if top != f"sendwindow-{version}" or rest.split("/")[0] not in IN_SDIST:
            yield f"{name} does not belong in the sdist"
    yield from _faults_of_metadata(metadata, version)


def _faults_of_record(contents: Mapping[str, bytes], record: str) -> Iterator[str]:
    """Yield each file whose digest is not the recorded one. Installers refuse such a wheel."""
    rows = csv.reader(io.StringIO(contents.get(record, b"").decode()))
    recorded = {row[0]: row[1] for row in rows if row}
    for name, content in contents.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        if name != record and recorded.get(name) != f"sha256={digest}":
            yield f"RECORD does not hold the digest of {name}"


def _faults_of_metadata(content: bytes, version: str) -> Iterator[str]:
    """Yield what a package index would refuse or show wrongly."""
    metadata: Message = BytesParser().parsebytes(content)
    for name in _REQUIRED:
        if not metadata.get(name):
            yield f"the metadata has no {name}"
    if metadata.get("Version") != version:
        yield f"the metadata names version {metadata.get('Version')}"
    if not str(metadata.get("Description-Content-Type", "")).startswith("text/markdown"):
        yield "the description is not declared as Markdown"
    description = content.decode("utf-8").partition("\n\n")[2]
    if not description.strip():
        yield "the description is empty"
    for link in _RELATIVE.findall(description):
        yield f"the description links {link}, which an index does not have"
    for url in metadata.get_all("Project-URL", []):
        if urlsplit(url.partition(", ")[2]).scheme != "https":
            yield f"the project's URL is not absolute: {url}"


def is_reserved(url: str) -> bool:
    """Return whether RFC 2606 reserves the host of a URL, so that the URL leads nowhere."""
    host = urlsplit(url).hostname or ""
    return host.split(".")[-1] in {"example", "invalid", "test"} or host.removeprefix("www.") in {
        "example.com",
        "example.org",
    }
