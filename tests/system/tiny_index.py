"""A package index on loopback with wheels built here: releases appear, differ or are missing on
demand.
"""

import hashlib
import threading
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Final

_EPOCH: Final = (2026, 1, 1, 0, 0, 0)


@dataclass(frozen=True, slots=True)
class Release:
    """One release of a package, as a wheel without code.

    `extras` maps an extra's name to its requirements.
    """

    name: str
    version: str
    requires: Sequence[str] = ()
    extras: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def filename(self) -> str:
        return f"{self._stem}-py3-none-any.whl"

    @property
    def _stem(self) -> str:
        return f"{self.name.replace('-', '_')}-{self.version}"

    def wheel(self) -> bytes:
        """Build the wheel, with the same bytes every time."""
        info = f"{self._stem}.dist-info"
        lines = ["Metadata-Version: 2.1", f"Name: {self.name}", f"Version: {self.version}"]
        lines += [f"Requires-Dist: {requirement}" for requirement in self.requires]
        for extra, requirements in self.extras.items():
            lines += [f"Provides-Extra: {extra}"]
            lines += [
                f'Requires-Dist: {requirement}; extra == "{extra}"' for requirement in requirements
            ]
        files = {
            f"{self.name.replace('-', '_')}.py": f"version = {self.version!r}\n",
            f"{info}/METADATA": "\n".join(lines) + "\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: tests\n"
            "Root-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        content = BytesIO()
        with zipfile.ZipFile(content, "w") as archive:
            for path, text in {**files, f"{info}/RECORD": record}.items():
                archive.writestr(zipfile.ZipInfo(path, _EPOCH), text)
        return content.getvalue()

    def pin(self) -> str:
        """Return the line of a lock that names this release and its hash."""
        return (
            f"{self.name}=={self.version} \\\n"
            f"    --hash=sha256:{hashlib.sha256(self.wheel()).hexdigest()}\n"
        )


def lock(*releases: Release) -> str:
    """Return a lock that names these releases."""
    return "".join(release.pin() for release in releases)


@contextmanager
def served(*releases: Release) -> Iterator[str]:
    """Serve the releases as a simple index (PEP 503). Yields its URL."""
    wheels = {release.filename: release.wheel() for release in releases}
    projects: dict[str, list[str]] = {}
    for release in releases:
        projects.setdefault(release.name, []).append(release.filename)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            kind, _, name = self.path.strip("/").partition("/")
            if kind == "simple" and name in projects:
                links = "".join(f'<a href="/files/{file}">{file}</a>\n' for file in projects[name])
                self._send(
                    f"<!DOCTYPE html><html><body>{links}</body></html>".encode(), "text/html"
                )
            elif kind == "files" and name in wheels:
                self._send(wheels[name], "application/octet-stream")
            else:
                self.send_error(404)

        def _send(self, body: bytes, kind: str) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple"
        finally:
            server.shutdown()
            thread.join()
