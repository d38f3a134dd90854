"""Starts the mock that all comparison rows share.

It is nginx where that is installed, and else the bundled mock. nginx takes far less of the cores,
so the result says which of them answered.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_START_SECONDS: Final = 10.0
_STOP_SECONDS: Final = 5.0

_NGINX: Final = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 2048; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  # A connection that the server closes during a POST would make its outcome unknown.
  keepalive_requests 100000000;
  keepalive_timeout 300s;
  server {{
    listen 127.0.0.1:{port};
{tls}    default_type application/json;
    location / {{
      if ($request_method = GET) {{
        return 200 '{{"messages": [], "next_page_uri": null}}';
      }}
      return 201 '{{"sid": "SM$request_id", "status": "queued", "error_code": null}}';
    }}
  }}
}}
"""

_NGINX_TLS: Final = """\
    listen 127.0.0.1:{port} ssl;
    ssl_certificate {certificate};
    ssl_certificate_key {key};
"""


@dataclass(frozen=True, slots=True)
class SharedMock:
    """Where the mock listens. `kind`: `nginx` or `bundled`. `tls_url` is empty without openssl."""

    kind: str
    base_url: str
    tls_url: str
    ca_file: str


@contextmanager
def mock_api() -> Iterator[str]:
    """Run the bundled mock, and yield its base URL."""
    with _bundled(None) as mock:
        yield mock.base_url


@contextmanager
def shared_mock() -> Iterator[SharedMock]:
    """Run the mock over HTTP and TLS, and yield where it listens."""
    with tempfile.TemporaryDirectory() as name:
        certificate = _make_certificate(Path(name))
        nginx = shutil.which("nginx", path=_search_path())
        with _bundled(certificate) if nginx is None else _nginx(nginx, certificate, name) as mock:
            yield mock


def _search_path() -> str:
    # Debian installs nginx where only root's PATH looks.
    return os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin"])


def _make_certificate(folder: Path) -> tuple[Path, Path] | None:
    """Return a new self-signed certificate for 127.0.0.1 and its key. None without openssl.

    It is made for each run, so that no private key is kept anywhere.
    """
    if (openssl := shutil.which("openssl")) is None:
        return None
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    # fmt: off
    subprocess.run(
        [
            openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
            "-nodes", "-keyout", str(key), "-out", str(certificate), "-days", "2",
            "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1",
        ],
        check=True, capture_output=True, timeout=_START_SECONDS,
    )
    # fmt: on
    return certificate, key


@contextmanager
def _bundled(certificate: tuple[Path, Path] | None) -> Iterator[SharedMock]:
    files = (
        {}
        if certificate is None
        else {"certificate": str(certificate[0]), "key": str(certificate[1])}
    )
    process = subprocess.Popen(
        [sys.executable, "-m", "bench.mock_api", json.dumps(files)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        ports = json.loads(process.stdout.readline())
        yield SharedMock(
            "bundled",
            f"http://127.0.0.1:{ports['port']}",
            f"https://127.0.0.1:{ports['tls_port']}" if certificate else "",
            str(certificate[0]) if certificate else "",
        )
    finally:
        _stop(process)


@contextmanager
def _nginx(
    program: str, certificate: tuple[Path, Path] | None, folder: str
) -> Iterator[SharedMock]:
    port, tls_port = free_port(), free_port()
    tls = (
        ""
        if certificate is None
        else _NGINX_TLS.format(port=tls_port, certificate=certificate[0], key=certificate[1])
    )
    configuration = Path(folder, "nginx.conf")
    configuration.write_text(_NGINX.format(folder=folder, port=port, tls=tls))
    # Its worker runs as another user when root starts it, and opens nothing in the folder.
    process = subprocess.Popen(
        [program, "-p", folder, "-e", f"{folder}/error.log", "-c", str(configuration)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_until_listening(process, port)
        yield SharedMock(
            "nginx",
            f"http://127.0.0.1:{port}",
            f"https://127.0.0.1:{tls_port}" if certificate else "",
            str(certificate[0]) if certificate else "",
        )
    finally:
        _stop(process)


def free_port() -> int:
    """Return a port of loopback on which no process listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_listening(process: subprocess.Popen[str], port: int) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.01)
    process.kill()
    raise RuntimeError(f"nginx does not start: {process.communicate()[1][-500:]}")


def _stop(process: subprocess.Popen[str]) -> None:
    """End a process that this module started."""
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream is not None:
            stream.close()
