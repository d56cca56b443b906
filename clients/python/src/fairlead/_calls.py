"""The unary calls of a gateway that are about sessions."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import grpc

from fairlead._cancellation import cancellations, raise_if_cancelled
from fairlead._link import Link
from fairlead.errors import (
    Failure,
    FairleadError,
    GatewayUnavailable,
    OutcomeUnknown,
    SessionNotFound,
    error_of_rpc,
)
from fairlead.summary import SessionSummary
from fairlead.v1 import session_pb2 as pb

# Bounds the wait for an answer that should come at once. CloseSession waits for the exchange's close frame.
RPC_TIMEOUT_S = 10.0
_CLOSE_TIMEOUT_S = 20.0

_T = TypeVar("_T")


@contextmanager
def _answered(*, writes: bool) -> Iterator[None]:
    """Give what goes wrong with a call its exception; `writes`: if nobody answers, what it did is unknown."""
    cancelled = cancellations()
    try:
        yield
    except grpc.aio.AioRpcError as error:
        raise_if_cancelled(cancelled)
        raise error_of_rpc(error, writes=writes) from None
    except asyncio.CancelledError:
        # grpc.aio says the same when the connection was closed under the call.
        raise_if_cancelled(cancelled)
        lost = OutcomeUnknown if writes else GatewayUnavailable
        raise lost(Failure(message="the connection to the gateway was closed meanwhile")) from None


async def list_sessions(link: Link) -> list[SessionSummary]:
    """List the sessions of this identity, ordered by name."""
    found: list[SessionSummary] = []
    token = ""
    connection = link.connection
    with _answered(writes=False):
        while True:
            page = await connection.stub.ListSessions(
                pb.ListSessionsRequest(page_size=1000, page_token=token),
                timeout=RPC_TIMEOUT_S,
                credentials=connection.proof.show(),
            )
            found.extend(SessionSummary.from_proto(session, link.name) for session in page.sessions)
            token = page.next_page_token
            if not token:
                return found


async def get_session(link: Link, name: str, timeout: float = RPC_TIMEOUT_S) -> SessionSummary:
    """Get one session."""
    connection = link.connection
    with _answered(writes=False):
        answer = await connection.stub.GetSession(
            pb.GetSessionRequest(session=name), timeout=timeout, credentials=connection.proof.show()
        )
    return SessionSummary.from_proto(answer.session, link.name)


async def close_session(link: Link, name: str) -> None:
    """Close one session."""
    connection = link.connection
    with _answered(writes=True):
        await connection.stub.CloseSession(
            pb.CloseSessionRequest(session=name), timeout=_CLOSE_TIMEOUT_S, credentials=connection.proof.show()
        )


async def list_everywhere(links: Sequence[Link]) -> list[SessionSummary]:
    """List the sessions of all gateways that answer. Raises what one answers otherwise if none does."""
    answers, errors = await _ask(links, list_sessions)
    if errors and not answers:
        raise errors[0]
    return sorted((each for answer in answers for each in answer), key=lambda each: each.name)


async def get_anywhere(links: Sequence[Link], name: str) -> SessionSummary:
    """Get one session: one with an owner if there are several, else from the first gateway that has it."""
    answers, errors = await _ask(links, lambda link: get_session(link, name))
    if not answers:
        raise _worst(errors)
    return next((each for each in answers if any(subscriber.owner for subscriber in each.subscribers)), answers[0])


async def close_everywhere(links: Sequence[Link], name: str) -> None:
    """Close one session wherever it is."""
    answers, errors = await _ask(links, lambda link: close_session(link, name))
    if not answers:
        raise _worst(errors)


async def _ask(
    links: Sequence[Link], call: Callable[[Link], Coroutine[Any, Any, _T]]
) -> tuple[list[_T], list[FairleadError]]:
    """Call all at once; return what they answered, in their order, and why others did not."""
    answers: list[_T] = []
    errors: list[FairleadError] = []
    for outcome in await asyncio.gather(*map(call, links), return_exceptions=True):
        if isinstance(outcome, FairleadError):
            errors.append(outcome)
        elif isinstance(outcome, BaseException):
            raise outcome
        else:
            answers.append(outcome)
    return answers, errors


def _worst(errors: Sequence[FairleadError]) -> FairleadError:
    """Choose what says most: where one gateway cannot be asked, nobody knows that there is no such session."""
    return next((error for error in errors if not isinstance(error, SessionNotFound)), errors[0])
