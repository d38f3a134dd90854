"""The server of warm_start: has imported the service, and forks a process for each order."""

import ast
import atexit
import gc
import importlib
import os
import pkgutil
import runpy
import selectors
import signal
import socket
import struct
import sys
import traceback
from contextlib import suppress
from typing import NoReturn

import worker.cli
import worker.cli.demo


def serve(control: socket.socket) -> None:
    """Fork for each order, and report each child's exit code, until the test process is gone."""
    children: dict[int, socket.socket] = {}
    woken, wake = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    control.sendall(b"!")
    with selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        selector.register(woken, selectors.EVENT_READ)
        while True:
            ready = {key.fileobj for key, _ in selector.select()}
            if woken in ready:
                os.read(woken, 4096)
                _report_ends(children)
            if control in ready:
                length, files, *_ = socket.recv_fds(control, 4, 4)
                if not length:
                    return
                order = control.recv(struct.unpack("I", length)[0], socket.MSG_WAITALL)
                pid = os.fork()
                if pid == 0:
                    _become(order.decode(), files[1:])
                children[pid] = socket.socket(fileno=files[0])
                children[pid].sendall(struct.pack("i", pid))
                for file in files[1:]:
                    os.close(file)


def _report_ends(children: dict[int, socket.socket]) -> None:
    with suppress(ChildProcessError):
        while True:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with children.pop(pid) as report, suppress(OSError):
                report.sendall(struct.pack("i", os.waitstatus_to_exitcode(status)))


def _become(order: str, files: list[int]) -> NoReturn:
    """Turn a forked child into the process that was ordered, and end with its exit code."""
    module, arguments, folder, environ = ast.literal_eval(order)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.closerange(3, 256)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environ)
    sys.argv[1:] = arguments
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as error:
        if error.code is None or isinstance(error.code, int):
            code = error.code or 0
        else:
            sys.stderr.write(f"{error.code}\n")
    except BaseException:  # noqa: BLE001 -- as the interpreter does at the end of a program
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        with suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(code)


def import_everything() -> None:
    """Import every module of the service and of the sandbox, and run none."""
    for package in (worker.cli, worker.cli.demo):
        for each in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{each.name}")
    for name in ("worker.services", "sandbox.app", "verify.judge", "sendwindow.sync", "uvloop"):
        importlib.import_module(name)
    gc.freeze()


if __name__ == "__main__":
    import_everything()
    serve(socket.socket(fileno=int(sys.argv[1])))
