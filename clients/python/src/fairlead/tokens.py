"""Bearer tokens: what connect() takes as one, and how one is taken from a file."""

import logging
import os
import re
from collections.abc import Callable
from pathlib import Path

_log = logging.getLogger("fairlead")

Token = str | Callable[[], str]
"""A token, or a plain function that gives the one of now."""

_SENDABLE = re.compile("[!-~]+")


def complaint(token: str) -> str:
    """Say why a token cannot be sent, without any of it; empty if it can."""
    return "" if _SENDABLE.fullmatch(token) else "must be printable ASCII without spaces, and not empty"


def token_file(path: str | os.PathLike[str]) -> Callable[[], str]:
    """Give a function for connect(token=...) that reads the token from a file, for one that is renewed in its place.

    The file is read for each call, so it should be on a local disk, or in memory as the projected token of a Kubernetes
    service account. White space at its ends is none of the token's. While there is no token in it that can be sent, or
    it cannot be read, the one before goes on, and the log says so; if there is none before, connecting and calls raise
    PermissionDenied.
    """
    return _TokenFile(Path(path))


class _TokenFile:
    """Reads a file; remembers the latest token that was in it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._latest = ""
        self._complained = False

    def __repr__(self) -> str:
        return f"token_file({str(self._path)!r})"

    def __call__(self) -> str:
        """Give the token. Raises OSError if the file cannot be read and never was."""
        try:
            token = self._path.read_bytes().strip().decode("latin-1")
            why = complaint(token)
        except OSError as error:
            if not self._latest:
                raise
            token, why = "", str(error)
        if not why:
            self._latest = token
        elif self._latest:
            if not self._complained:
                _log.warning("no token in %s, the one before goes on: %s", self._path, why)
            token = self._latest
        self._complained = bool(why)
        return token
