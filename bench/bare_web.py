"""Frozen reference: the least that any gateway in Python costs, in a process of its own.

It is aiohttp.web with one handler that reads the form and sets one key. Do not improve it.
"""

import json
import sys

import uvloop
from aiohttp import web
from redis.asyncio import Redis

from bench.child_commands import answer_commands, say


async def _serve(store_url: str) -> None:
    redis: Redis = Redis.from_url(store_url)

    async def handle(request: web.Request) -> web.Response:
        form = await request.post()
        await redis.set(f"bench:{form['MessageSid']!s}", "1")
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/twilio/status", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    say({"port": runner.addresses[0][1]})

    await answer_commands({})
    await runner.cleanup()
    await redis.aclose()


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])["store_url"]))
