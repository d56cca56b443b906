"""Opens a session and prints what happens on it: python watch.py GATEWAY URL [NAME]."""

import asyncio
import sys

import fairlead


async def main(gateway_address: str, url: str, name: str = "") -> None:
    async with (
        fairlead.connect(gateway_address) as gateway,
        gateway.websocket(url, name=name) as session,
    ):
        async for event in session.events():
            print(event, flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
