"""What a systemd unit says, and what its system call filter lets through."""

import json
import re
import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.processes import ROOT

UNIT = ROOT / "deploy/systemd/fairlead.service"


def directives(path: Path = UNIT) -> dict[str, list[str]]:
    """All directives in order of appearance, each with its values; sections do not share names."""
    found: dict[str, list[str]] = {}
    for line in path.read_text().splitlines():
        if line and not line.startswith(("#", "[")):
            name, value = line.split("=", 1)
            found.setdefault(name, []).append(value)
    return found


@dataclass(frozen=True)
class Filter:
    """An allow list of system calls, and of address families of socket()."""

    calls: frozenset[str]
    families: frozenset[int]

    @classmethod
    def of_unit(cls) -> "Filter":
        """Asks systemd-analyze what its @sets hold."""
        said = directives()
        calls: set[str] = set()
        for value in said["SystemCallFilter"]:
            for word in value.removeprefix("~").split():
                if value.startswith("~"):
                    calls -= members(word)
                else:
                    calls |= members(word)
        families = {getattr(socket, name) for value in said["RestrictAddressFamilies"] for name in value.split()}
        # systemd allows these in every filter: what starts the program.
        return cls(frozenset(calls | members("@default") | {"execve"}), frozenset(families))

    def to_json(self) -> str:
        return json.dumps({"calls": sorted(self.calls), "families": sorted(self.families)})


def members(word: str) -> set[str]:
    """The system calls of a set and of the sets in it; of a call, itself."""
    if not word.startswith("@"):
        return {word}
    listing = subprocess.run(
        ["systemd-analyze", "--no-pager", "syscall-filter", word], capture_output=True, text=True, check=True
    ).stdout
    lines = [line.strip() for line in listing.splitlines()[1:]]
    words = [line for line in lines if re.fullmatch(r"@?[\w-]+", line)]
    assert words, listing
    return {call for each in words for call in members(each)}
