"""An RPC that does nothing: the least that any request through a gateway costs, with no exchange behind it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, cast

import grpc

from fairlead.v1 import session_pb2, session_pb2_grpc
from tests.bench.contender import BODY_BYTES, Get, Site

if TYPE_CHECKING:
    from fairlead.v1.session_pb2_grpc import SessionServiceAsyncStub

ASKED = session_pb2.ListSessionsRequest()
# In place of an answer's body, which there is not.
NO_BODY = bytes(BODY_BYTES)


def about() -> str:
    what = "no HTTP at all, ListSessions of an idle gateway; the bound of unary RPCs"
    return f"empty_rpc, grpcio {version('grpcio')}: {what}"


@asynccontextmanager
async def http(in_flight: int, site: Site) -> AsyncIterator[Get]:
    async with grpc.aio.insecure_channel(site.gateway, options=[("grpc.enable_retries", 0)]) as channel:
        # The generated stub, as what it is on an asyncio channel.
        stub = cast("SessionServiceAsyncStub", session_pb2_grpc.SessionServiceStub(channel))

        async def get(url: str) -> tuple[int, bytes]:
            reply = await stub.ListSessions(ASKED, timeout=30)
            assert not reply.sessions
            return 200, NO_BODY

        yield get
