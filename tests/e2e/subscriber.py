"""A subscriber that keeps an account of what it is given: a process of its own, to be stopped and continued.

`python -m tests.e2e.subscriber GATEWAY SESSION OVERFLOW LAST FILE`: reads the session up to number LAST. When it is
ended because the journal has passed it, it joins again where it was. A line of the file is what told() makes of an
entry, or `ended REASON MESSAGE`.
"""

import asyncio
import os
import sys
from pathlib import Path

import fairlead
from tests.e2e import secure


def told(entry: fairlead.Entry) -> str:
    match entry:
        case fairlead.Frame():
            return f"entry {entry.sequence} {entry.payload.split(maxsplit=1)[0].decode()}"
        case fairlead.StateChanged():
            return f"entry {entry.sequence} {entry.state.name}"
        case fairlead.CommandResult():
            return f"entry {entry.sequence} {entry.outcome.name}"
        case fairlead.Gap():
            return f"gap {entry.from_sequence} {entry.to_sequence}"
        case fairlead.Attached():
            return f"attached {entry.start.name} {entry.position}"
        case fairlead.Detached():
            return "detached"
        case fairlead.TopicChanged() | fairlead.LegChanged() | fairlead.Asked():
            raise AssertionError(f"nobody asked for {entry}")


async def subscribe(gateway: str, session: str, overflow: fairlead.Overflow, last: int, file: Path) -> None:
    output = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    start: fairlead.StartFrom = fairlead.HEAD
    async with fairlead.connect(gateway) as client:
        while True:
            reader = client.join(session, start=start, delivery=fairlead.Delivery(overflow=overflow))
            try:
                async with reader:
                    async for entry in reader.events():
                        line = told(entry)
                        # At once: a stopped process has told all that it took.
                        os.write(output, f"{line}\n".encode())
                        if line.startswith("entry") and line.endswith(f" {last}"):
                            return
            except fairlead.SessionEnded as ended:
                os.write(output, f"ended {ended.reason.name} {ended.message}\n".encode())
                if ended.reason is not fairlead.Reason.OVERFLOW:
                    raise
                assert reader.position is not None
                start = reader.position


if __name__ == "__main__":
    secure.install()
    _, address, name, policy, end, path = sys.argv
    asyncio.run(subscribe(address, name, fairlead.Overflow[policy], int(end), Path(path)))
