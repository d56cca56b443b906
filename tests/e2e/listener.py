"""A reader that keeps an account of what it is given: a process of its own, so that it can be stopped.

`python -m tests.e2e.listener GATEWAY JOIN FILE`: JOIN is base64 of the message. A line of the file: `frame SEQUENCE`,
`gap FROM TO`, or at the end `ended REASON MESSAGE`.
"""

import asyncio
import base64
import sys
from pathlib import Path

import grpc

from fairlead.v1.session_pb2 import Command, Ended, Gap, Join
from fairlead.v1.types_pb2 import Reason
from tests.e2e.attach import Attachment, Frame


async def listen(gateway: str, join: Join, file: Path) -> None:
    # Without probing for bandwidth little lies between the gateway and who does not read.
    async with grpc.aio.insecure_channel(gateway, [("grpc.http2.bdp_probe", 0)]) as channel:
        stream = Attachment(channel)
        await stream.say(Command(channel=1, join=join))
        await stream.attached(1)
        with file.open("w", buffering=1) as account:
            while True:
                item = await stream.next()
                match item:
                    case Frame():
                        print("frame", item.sequence, file=account)
                    case Gap():
                        print("gap", item.from_sequence, item.to_sequence, file=account)
                    case Ended():
                        print("ended", Reason.Name(item.cause.reason), item.cause.message, file=account)
                        return


if __name__ == "__main__":
    _, address, joined, path = sys.argv
    asyncio.run(listen(address, Join.FromString(base64.b64decode(joined)), Path(path)))
