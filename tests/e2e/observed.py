"""Where a field's effect is observed, and the register of which observation is for which field."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import grpc

from fairlead.v1.session_pb2 import (
    SESSION_STATE_OPEN,
    SESSION_STATE_RECONNECTING,
    Attached,
    Command,
    GetSessionRequest,
    Open,
    Session,
    StateChanged,
    TailRequest,
    TailResponse,
)
from tests.e2e.attach import Attachment, sessions_of
from tests.e2e.processes import Exchange


@dataclass(frozen=True)
class Stage:
    exchange: Exchange
    channel: grpc.aio.Channel
    stream: Attachment

    async def begin(self, opening: Open, path: str = "/echo", number: int = 1) -> Attached:
        """Opens a session; its target is the exchange's path unless the opening has one."""
        if not opening.target.url:
            opening.target.url = self.exchange.ws + path
        await self.stream.say(Command(channel=number, open=opening))
        return await self.stream.attached(number)

    async def open(self, opening: Open, path: str = "/echo", number: int = 1) -> Attached:
        attached = await self.begin(opening, path, number)
        await self.stream.state(number, SESSION_STATE_OPEN)
        return attached

    async def lost(self, number: int = 1) -> StateChanged:
        return await self.stream.state(number, SESSION_STATE_RECONNECTING)

    async def session(self, name: str) -> Session:
        return (await sessions_of(self.channel).GetSession(GetSessionRequest(session=name))).session

    async def tail(self, request: TailRequest, count: int) -> list[TailResponse]:
        """The first answers; fewer if the watch ends before."""
        call = sessions_of(self.channel).Tail(request)
        answers: list[TailResponse] = []
        async for answer in call:
            answers.append(answer)
            if len(answers) == count:
                break
        call.cancel()
        return answers


Observation = Callable[[Stage], Awaitable[None]]
OBSERVED: dict[str, Observation] = {}


def observes(*fields: str) -> Callable[[Observation], Observation]:
    """Registers a check as the one that fails if one of these fields had no effect."""

    def register(observation: Observation) -> Observation:
        for field in fields:
            assert field not in OBSERVED, f"{field} is observed twice"
            OBSERVED[field] = observation
        return observation

    return register
