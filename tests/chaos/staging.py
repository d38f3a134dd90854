"""Builds a scene around a store: sandbox, gateway, a producer, and persons with consent.

No worker yet.
"""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import structlog

from sandbox.app import running
from sendwindow.producer import Producer
from tests.chaos.scene import IMPATIENT, Scene
from tests.chaos.settings import environ, write_settings
from tests.support.free_ports import free_port
from worker.cli.sandbox import sandbox_config
from worker.gateway.app import make_app
from worker.gateway.server import serve
from worker.settings.settings import load_settings
from worker.stores.ledger import Tuning
from worker.telemetry.journal import Journal
from worker.telemetry.metrics import Metrics
from worker.wiring import load_rules


@asynccontextmanager
async def staged(
    folder: Path,
    url: str,
    *,
    durability: str = "none",
    people: int = 10,
    tuning: Tuning = IMPATIENT,
    slots: int = 25,
    lease_seconds: int | None = None,
) -> AsyncIterator[Scene]:
    """Build a scene without a worker. `lease_seconds`: instead of the lease in the settings."""
    gateway_port, sandbox_port = free_port(), free_port()
    config = write_settings(folder, url, gateway_port, sandbox_port)
    outside = {
        **environ(os.environ),
        "SENDWINDOW_STORE_DURABILITY": durability,
        "SENDWINDOW_DISPATCH_SLOTS": str(slots),
        # Sandbox and worker may share a loop here, and a stalled loop must make no POST unknown.
        "SENDWINDOW_DISPATCH_READ_TIMEOUT": "15",
    }
    if lease_seconds is not None:
        outside["SENDWINDOW_DISPATCH_LEASE_SECONDS"] = str(lease_seconds)
    settings = load_settings(str(config), outside)
    scene = Scene(folder, url, durability, config, settings, load_rules(settings), outside, tuning)
    async with AsyncExitStack() as stack:
        sandbox = sandbox_config(
            settings, "127.0.0.1", sandbox_port, scene.journals / "sandbox.jsonl"
        )
        sandbox = sandbox.model_copy(
            update={"settings": sandbox.settings.model_copy(update={"callback_delay_ms": 5})}
        )
        scene.sandbox_url, scene.sandbox = await stack.enter_async_context(running(sandbox))
        scene.journal = Journal(scene.journals / "scene.jsonl", "scene")
        stack.callback(scene.journal.close)
        scene.store = await scene.open_store()
        stack.push_async_callback(scene.store.close)
        await scene.store.register_senders(
            {name: one.account for name, one in settings.senders.items()}
        )
        await _open_gateway(scene, stack)
        scene.producer = await stack.enter_async_context(
            Producer(url, durability=durability, timeout=30)
        )
        await scene.meet(people)
        yield scene


async def _open_gateway(scene: Scene, stack: AsyncExitStack) -> None:
    journal = Journal(scene.journals / "gateway.jsonl", "gateway")
    stack.callback(journal.close)
    log = structlog.get_logger().bind()
    app = make_app(
        scene.settings, scene.store, scene.rules, journal=journal, metrics=Metrics(), log=log
    )
    gateway = await serve(app, "127.0.0.1", scene.settings.gateway.port)
    stack.push_async_callback(gateway.stop)
