"""Frozen reference: a bare aiohttp POST loop, the least that any sender in Python costs.

Do not improve it.

The ratio means nothing without these options: plain `data=` form, `Authorization` header built
once, ClientTimeout(total=30), uvloop, 100 requests at a time, answers parsed as JSON.
"""

import asyncio
import json
import sys
import time

import aiohttp
import uvloop

AT_A_TIME = 100
FORM = {
    "To": "whatsapp:+14155550101",
    "From": "whatsapp:+14155550100",
    "Body": "Your order 1234 has left the warehouse and arrives tomorrow between 9 and 12.",
    "StatusCallback": "https://hooks.example.com/twilio/status"
    "?m=0123456789abcdef0123&a=1#rc=5&rp=all",
    "ValidityPeriod": "36000",
}


async def main(base_url: str, messages: int) -> None:
    url = f"{base_url}/2010-04-01/Accounts/AC00000000000000000000000000000000/Messages.json"
    headers = {
        "Authorization": aiohttp.encode_basic_auth("AC00000000000000000000000000000000", "secret")
    }
    left = messages

    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=AT_A_TIME),
        timeout=aiohttp.ClientTimeout(total=30),
        headers=headers,
    ) as session:

        async def sender() -> None:
            nonlocal left
            while left > 0:
                left -= 1
                async with session.post(url, data=FORM) as response:
                    assert (await response.json())["sid"]

        cpu, wall = time.process_time(), time.perf_counter()
        await asyncio.gather(*(sender() for _ in range(AT_A_TIME)))
        spent = {
            "cpu": time.process_time() - cpu,
            "wall": time.perf_counter() - wall,
            "messages": messages,
        }
        print(json.dumps(spent), flush=True)


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2])))
