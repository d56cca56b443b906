"""What the demo tells: in colour and in place on a terminal, in plain lines elsewhere."""

import os
import shutil
import sys
import time

TTY = sys.stdout.isatty() and "NO_COLOR" not in os.environ
WIDTH = min(shutil.get_terminal_size((110, 24)).columns, 130)
CLEAR = "\r\x1b[K"


def paint(text: str, colour: int) -> str:
    return f"\x1b[{colour}m{text}\x1b[0m" if TTY else text


def bold(text: str) -> str:
    return paint(text, 1)


def grey(text: str) -> str:
    return paint(text, 90)


def say(text: str = "") -> None:
    # The line may hold a counter that is being overwritten.
    print(f"{CLEAR}{text}" if TTY else text, flush=True)


def good(text: str) -> None:
    say(f"  {paint('✓', 32) if TTY else 'ok:'} {text}")


def cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


class Counter:
    """A line that counts in place on a terminal, and every two seconds elsewhere."""

    def __init__(self, what: str, of: int | None = None) -> None:
        self._what = what
        self._of = of
        self._started = self._told = time.monotonic()

    def tell(self, count: int) -> None:
        now = time.monotonic()
        if now - self._told < (0.1 if TTY else 2.0):
            return
        self._told = now
        total = f" of {self._of:,}" if self._of else ""
        line = f"    {count:>8,}{total} {self._what}   {count / (now - self._started):>9,.0f}/s"
        print(f"{CLEAR}{line}" if TTY else line, end="" if TTY else "\n", flush=True)
