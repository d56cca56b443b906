"""An adapter that keeps all it reads in a file, and goes on behind that when it is started again: to be killed at will.

`python -m tests.e2e.recorder GATEWAY URL PREAMBLE LAST HOW FILE`: reads the session "recorded" until number LAST, in a
loop or by callbacks, as HOW says. A line of the file is what was read and the position behind it, written at once, so
that a kill loses neither or both.
"""

import asyncio
import os
import sys
from collections.abc import Callable
from pathlib import Path

import fairlead
from fairlead import SessionState
from tests.e2e import secure

NAME = "recorded"


def whole_lines(file: Path) -> list[list[str]]:
    """The words of each line; what a kill has cut short is no line."""
    text = file.read_text() if file.exists() else ""
    return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]


def kept_position(file: Path) -> fairlead.StartFrom:
    lines = whole_lines(file)
    return fairlead.After(lines[-1][0], int(lines[-1][1])) if lines else fairlead.OLDEST


def told(entry: fairlead.Entry) -> str:
    match entry:
        case fairlead.Frame():
            return f"number {int(entry.payload.split()[0])}"
        case fairlead.Gap():
            return f"gap {entry.from_sequence} {entry.to_sequence}"
        case fairlead.EpochChanged():
            return "epoch_changed"
        case fairlead.Attached():
            return f"attached {entry.start.name}"
        case fairlead.StateChanged() if entry.state is SessionState.OPENING and entry.generation > 1:
            return f"blind {entry.generation}"
        case (
            fairlead.StateChanged()
            | fairlead.LegChanged()
            | fairlead.CommandResult()
            | fairlead.TopicChanged()
            | fairlead.Asked()
            | fairlead.Detached()
        ):
            return type(entry).__name__


async def by_loop(session: fairlead.Session, take: Callable[[fairlead.Entry], bool]) -> None:
    async with session:
        async for entry in session.events():
            if take(entry):
                return


async def by_callbacks(session: fairlead.Session, take: Callable[[fairlead.Entry], bool]) -> None:
    """What happens to the channel, and is no entry, has no callback and is not told."""
    leaving = []

    def call(entry: fairlead.Entry) -> None:
        if take(entry):
            leaving.append(asyncio.create_task(session.aclose()))

    session.on_frame(call)
    session.on_state(call)
    session.on_gap(call)
    session.on_epoch(call)
    async with session:
        await session.ended()


HOW = {"loop": by_loop, "callbacks": by_callbacks}


async def record(gateway: str, url: str, preamble: str, last: int, how: str, file: Path) -> None:
    start = kept_position(file)
    output = os.open(file, os.O_WRONLY | os.O_CREAT)
    os.ftruncate(output, sum(len(" ".join(words)) + 1 for words in whole_lines(file)))
    os.lseek(output, 0, os.SEEK_END)
    # No pause between dials: the outages of a test are short.
    reconnect = fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.1, stable_after=0)
    # Room for what comes while nobody is there, on a busy machine, too.
    retention = fairlead.Retention(journal_bytes=2**27)
    async with fairlead.connect(gateway) as client:
        raw = url.startswith(("tcp:", "tls:"))
        session = (
            client.socket(
                url, preamble=preamble.encode(), name=NAME, start=start, reconnect=reconnect, retention=retention
            )
            if raw
            else client.websocket(url, name=NAME, start=start, reconnect=reconnect, retention=retention)
        )

        def take(entry: fairlead.Entry) -> bool:
            position = session.position
            assert position is not None
            what = told(entry)
            os.write(output, f"{position.epoch} {position.sequence} {what}\n".encode())
            return what == f"number {last}"

        await HOW[how](session, take)


if __name__ == "__main__":
    secure.install()
    _, address, target, opening, end, shape, path = sys.argv
    asyncio.run(record(address, target, opening, int(end), shape, Path(path)))
