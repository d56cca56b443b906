"""What calls show to prove whose they are, beside the connection's certificate."""

import asyncio
import inspect
from collections.abc import Callable

import grpc

from fairlead.errors import Failure, PermissionDenied
from fairlead.tokens import Token, complaint
from fairlead.v1.enums import Phase, Reason

# Reasons of the gateway to refuse a client that the next token may mend.
UNPROVEN = {Reason.UNAUTHENTICATED, Reason.REVOKED}


class NoToken(PermissionDenied):
    """The function gives no token that can be sent. Unlike the gateway's word this may pass."""


class Proof:
    """The bearer token: asked for at each call, if a function gives it. It is in no repr, no message and no log."""

    def __init__(self, token: Token | None) -> None:
        """Raise ValueError for a text that cannot be sent, TypeError for what is neither text nor plain function."""
        self._source: Callable[[], str] | None = None
        self._token = ""
        self._credentials: grpc.CallCredentials | None = None
        if isinstance(token, str):
            if why := complaint(token):
                raise ValueError(f"token: {why}")
            self._keep(token)
        elif token is not None:
            _require_plain(token)
            self._source = token

    @property
    def given(self) -> bool:
        """Whether there is a token."""
        return self._source is not None or self._credentials is not None

    def show(self) -> grpc.CallCredentials | None:
        """Give what a call is to show now: the same object while the token is the same; None: nothing.

        gRPC sends it over secure connections only. Raises NoToken if the function gives none that can be sent.
        """
        if self._source is not None:
            token = _ask(self._source)
            if token != self._token:
                self._keep(token)
        return self._credentials

    def _keep(self, token: str) -> None:
        self._token = token
        self._credentials = grpc.access_token_call_credentials(token)


def _ask(source: Callable[[], str]) -> str:
    try:
        token: object = source()
    except (Exception, asyncio.CancelledError) as raised:
        raise _missing(f"raised {_described(raised)}") from raised
    if not isinstance(token, str):
        if inspect.iscoroutine(token):
            token.close()  # Else Python complains that nobody has awaited it.
        raise _missing(f"gave {type(token).__name__}, not str")
    if why := complaint(token):
        raise _missing(f"gave what cannot be sent: {why}")
    return token


def _missing(what: str) -> NoToken:
    return NoToken(Failure(phase=Phase.NOT_SENT, message=f"token: the function that gives it {what}"))


def _described(raised: BaseException) -> str:
    """Name an exception, and the file if it is about one; its text may have the token in it."""
    about = f": {raised.strerror}: {raised.filename!r}" if isinstance(raised, OSError) and raised.filename else ""
    return type(raised).__name__ + about


def _require_plain(source: object) -> None:
    if not callable(source):
        raise TypeError(f"token: give str, or a function that gives it, not {type(source).__name__}")
    if inspect.iscoroutinefunction(source) or inspect.iscoroutinefunction(type(source).__call__):
        raise TypeError(
            "token: nobody would await this function: give a plain one, which gives what a task of yours renews"
        )
