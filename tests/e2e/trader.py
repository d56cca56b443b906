"""An adapter that sends numbered orders and keeps what became of each, to be killed at will and started again.

`python -m tests.e2e.trader GATEWAY OPEN LAST FILE`: takes over the session of OPEN (base64 of the message), sends
orders up to LAST, each with its number as id, and ends when all of its own have their result. A line of the file is
the position (epoch and sequence) and what was done or read.
"""

import asyncio
import base64
import os
import sys
from pathlib import Path

from fairlead.v1.session_pb2 import Attached, Command, CommandResult, Gap, Open, Outcome, Send, StateChanged
from tests.e2e import secure
from tests.e2e.attach import Attachment, Frame, connected, span
from tests.e2e.recorder import whole_lines

PACE_S = 0.002
MAX_WAIT = span(0.05)


class Book:
    """The file, and what this life still waits for."""

    def __init__(self, file: Path) -> None:
        lines = whole_lines(file)
        self._output = os.open(file, os.O_WRONLY | os.O_CREAT)
        os.ftruncate(self._output, sum(len(" ".join(words)) + 1 for words in lines))
        os.lseek(self._output, 0, os.SEEK_END)
        self.epoch, self.sequence = (lines[-1][0], int(lines[-1][1])) if lines else ("-", 0)
        self.last_sent = max((int(words[3]) for words in lines if words[2] == "sent"), default=0)
        self.unanswered: set[int] = set()

    def note(self, *words: object) -> None:
        os.write(self._output, " ".join(map(str, (self.epoch, self.sequence, *words))).encode() + b"\n")


async def send_all(stream: Attachment, book: Book, last: int) -> None:
    for number in range(book.last_sent + 1, last + 1):
        # Noted first: an order that nobody knows of would be the worst.
        book.note("sent", number)
        book.unanswered.add(number)
        # Every other one waits out a short outage; the others fail at once.
        send = Send(payload=b"order %d" % number, max_wait=MAX_WAIT if number % 2 else None)
        await stream.say(Command(channel=1, id=number, send=send))
        await asyncio.sleep(PACE_S)


async def trade(gateway: str, opening: Open, last: int, file: Path) -> None:
    book = Book(file)
    if book.epoch != "-":
        opening.start.after.epoch, opening.start.after.sequence = book.epoch, book.sequence
    async with connected(gateway) as channel:
        stream = Attachment(channel)
        await stream.say(Command(channel=1, open=opening))
        attached = await stream.hear(Attached)
        book.epoch = attached.epoch
        book.note("attached", attached.start)
        sending = asyncio.create_task(send_all(stream, book, last))
        while not sending.done() or book.unanswered or book.sequence < attached.head_sequence:
            item = await stream.next()
            match item:
                case CommandResult():
                    assert item.sequence, f"refused: {item}"
                    book.sequence = item.sequence
                    book.note("result", item.id, Outcome.Name(item.outcome), item.generation)
                    book.unanswered.discard(item.id)
                case StateChanged() | Frame():
                    book.sequence = item.sequence
                case Gap():
                    raise AssertionError(f"the journal was too small: {item}")
                case _:
                    raise AssertionError(f"unexpected: {item}")
        await sending


if __name__ == "__main__":
    secure.install()
    _, address, opened, end, path = sys.argv
    asyncio.run(trade(address, Open.FromString(base64.b64decode(opened)), int(end), Path(path)))
