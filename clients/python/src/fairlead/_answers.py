"""Answers what a session asks its owner for, with the program's callbacks."""

import asyncio
import inspect
import logging

from fairlead._channel import Channel
from fairlead._stage import Stage
from fairlead.entries import Asked, Detached
from fairlead.errors import FairleadError, too_long
from fairlead.options import BeforeDial, Target, encode_payload, to_bytes
from fairlead.v1 import session_pb2 as pb

_log = logging.getLogger("fairlead")


class Answers:
    """Runs the callbacks of one session, each question's in a task of its own.

    A callback that fails is logged, and its question is left to its deadline; the gateway then tries again. One that
    comes too late is logged, too: the gateway refuses its answer.
    """

    def __init__(self, channel: Channel, before_dial: BeforeDial | None, max_send_bytes: int, *, raw: bool) -> None:
        self._channel = channel
        self._before_dial = before_dial
        self._max_send_bytes = max_send_bytes
        self._raw = raw
        self._tasks: dict[str, asyncio.Task[None]] = {}
        channel.observers.add(Asked, self._on_asked)
        channel.observers.add(Detached, lambda _: self.cancel())
        channel.on_end(self.cancel)

    def cancel(self) -> None:
        """Let nothing more be answered: whoever is asked next is asked anew."""
        tasks, self._tasks = self._tasks, {}
        for task in tasks.values():
            task.cancel()

    def _on_asked(self, asked: Asked) -> None:
        before = self._tasks.pop(asked.key, None)
        if before is not None:
            before.cancel()  # Its transport is gone.
        task = asyncio.create_task(self._answer(asked), name=f"fairlead answer {asked.key}")
        self._tasks[asked.key] = task
        task.add_done_callback(lambda done: self._forget(asked.key, done))

    def _forget(self, key: str, task: asyncio.Task[None]) -> None:
        if self._tasks.get(key) is task:
            del self._tasks[key]

    async def _answer(self, asked: Asked) -> None:
        what = f"setup step {asked.key!r}" if asked.key else "the dial"
        try:
            command = await (self._sign(asked) if asked.key else self._choose_target(asked))
        except Exception:
            _log.exception("session %s: the callback for %s failed", self._channel.name, what)
            return
        if command is None:
            _log.error("session %s: there is no callback for %s, which the gateway asks for", self._channel.name, what)
            return
        if self._channel.stage is not Stage.ATTACHED:
            return
        try:
            await self._channel.perform(command, command.ByteSize())
        except FairleadError as error:
            _log.warning("session %s: the answer for %s was not taken: %s", self._channel.name, what, error)

    async def _sign(self, asked: Asked) -> pb.Command | None:
        step = self._channel.setup.get(asked.key)
        if step is None or not callable(step.payload):
            return None
        given = step.payload(asked)
        payload = await given if inspect.isawaitable(given) else given
        encoded, kind = encode_payload(to_bytes(payload) if self._raw else payload)
        if len(encoded) > self._max_send_bytes:
            raise ValueError(too_long("payload", len(encoded), self._max_send_bytes).message)
        return pb.Command(send=pb.Send(payload=encoded, kind=kind, generation=asked.generation, answers=asked.key))

    async def _choose_target(self, asked: Asked) -> pb.Command | None:
        if self._before_dial is None:
            return None
        given = self._before_dial(asked)
        target = await given if inspect.isawaitable(given) else given
        if isinstance(target, str):
            target = Target(target)
        return pb.Command(answer=pb.Answer(number=asked.number, target=target.to_proto() if target else None))
