"""The gateway ends, killed or in order, and another takes its place; the adapter comes back by itself."""

import asyncio
import signal
from typing import TypeVar

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import fairlead
from fairlead import Outcome, Reason, SessionState
from fairlead.v1 import session_pb2 as pb
from tests.e2e.attach import Attachment
from tests.e2e.conftest import StartGateway
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import Exchange, Gateway, eventually

EntryT = TypeVar("EntryT", bound=fairlead.Entry)


class Story:
    """What an adapter hears of one session, read by a task of its own."""

    def __init__(self, reader: fairlead.Reader) -> None:
        self.reader = reader
        self.entries: list[fairlead.Entry] = []

    async def read(self) -> None:
        async for entry in self.reader.events():
            self.entries.append(entry)

    def of(self, kind: type[EntryT]) -> list[EntryT]:
        return [entry for entry in self.entries if isinstance(entry, kind)]

    def epochs(self) -> list[list[fairlead.Entry]]:
        """What came in each journal, from its Attached on."""
        parts: list[list[fairlead.Entry]] = []
        for entry in self.entries:
            if isinstance(entry, fairlead.Attached):
                parts.append([])
            parts[-1].append(entry)
        return parts


def numbers(entries: list[fairlead.Entry]) -> list[int]:
    frames = [entry for entry in entries if isinstance(entry, fairlead.Frame)]
    return [int(frame.payload.split()[0]) for frame in frames if frame.payload[:1].isdigit()]


async def test_kill_and_restart(gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint) -> None:
    """kill -9: the adapter comes back by itself, is told EPOCH_CHANGED, and frames go on. So does a reader."""
    changed: list[fairlead.EpochChanged] = []
    session = endpoint.session(
        client,
        "/login?rate=1000&feed=restart",
        name="md",
        start=fairlead.OLDEST,
        setup=[fairlead.Step("login", "login", expect='"ok":true'), fairlead.Step("book", "subscribe")],
    )
    session.on_epoch(changed.append)
    async with (
        fairlead.connect(gateway.address) as other,
        session,
        other.join("md", start=fairlead.OLDEST) as reader,
        asyncio.TaskGroup() as tasks,
    ):
        owner, watcher = Story(session), Story(reader)
        reading = [tasks.create_task(story.read()) for story in (owner, watcher)]
        await eventually(lambda: all(len(numbers(story.entries)) > 100 for story in (owner, watcher)), "numbers")
        first_epoch = session.epoch

        gateway.kill()
        await eventually(lambda: owner.of(fairlead.Detached) and watcher.of(fairlead.Detached), "Detached")
        assert gateway.unix.exists(), "a killed gateway leaves its socket behind"
        gateway.start()

        def again() -> bool:
            parts = [story.epochs() for story in (owner, watcher)]
            return all(len(part) == 2 and len(numbers(part[1])) > 100 for part in parts)

        await eventually(again, "numbers again")
        # The owner commands again; the reader sees it.
        sent = await session.send('{"op":"unsubscribe"}')
        assert sent.outcome is Outcome.WRITTEN
        await eventually(lambda: watcher.of(fairlead.CommandResult), "the reader sees the result")
        for task in reading:
            task.cancel()

    assert changed == owner.of(fairlead.EpochChanged)
    for story in (owner, watcher):
        before, after = story.epochs()
        attached = after[0]
        assert isinstance(attached, fairlead.EpochChanged)
        assert attached.start is fairlead.StartOutcome.EPOCH_CHANGED
        assert attached.epoch != first_epoch
        assert attached.epoch == session.epoch
        # Sequences begin anew, without a hole; from the new journal's first entry on.
        sequences = [
            entry.sequence
            for entry in after
            if isinstance(entry, fairlead.Frame | fairlead.StateChanged | fairlead.CommandResult)
        ]
        assert sequences == list(range(1, len(sequences) + 1))
        assert not story.of(fairlead.Gap)
        # Within a journal no number is missing; between the two, some are.
        for part in (before, after):
            seen = numbers(part)
            assert seen == list(range(seen[0], seen[-1] + 1))
        assert numbers(after)[0] > numbers(before)[-1] + 1

    one, two = await endpoint.exchange.connections()
    assert one["closed_by"] in {"peer_eof", "peer_reset"}
    assert (await endpoint.exchange.connection(two["id"]))["frames"][0]["text"] == "login"


async def test_gateway_absent_for_a_while(gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint) -> None:
    async with endpoint.session(client, "/echo", name="echo", start=fairlead.OLDEST) as session:
        assert client.attached
        gateway.kill()
        await eventually(lambda: not client.attached, "the loss is noticed")
        assert session.state is None
        with pytest.raises(fairlead.SendFailed) as failed:
            await session.send("now")
        assert failed.value.reason is Reason.NOT_OPEN
        with pytest.raises(fairlead.SendFailed) as failed:
            await session.send("soon", max_wait=0.1)
        assert failed.value.reason is Reason.WAIT_EXPIRED
        with pytest.raises(fairlead.GatewayUnavailable):
            await client.sessions()

        late = asyncio.create_task(session.send("when it is back", max_wait=30))
        gateway.start()
        assert (await late).outcome is Outcome.WRITTEN
        async for frame in session:
            assert frame.text == "when it is back", "what was refused must not be sent later"
            break
        assert [summary.name for summary in await client.sessions()] == ["echo"]


async def test_stream_breaks_and_the_session_goes_on(
    gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint
) -> None:
    """A reader keeps the session when the owner's stream breaks, and another owner takes it over."""
    async with fairlead.connect(gateway.address) as other:
        session = endpoint.session(other, "/numbered?rate=1000", name="kept")
        await session.open()
        async with client.join("kept", start=fairlead.OLDEST) as reader:
            await other.aclose()
            await eventually(lambda: reader.state is SessionState.OPEN, "the reader reads")

            async def alone() -> bool:
                return len((await client.session("kept")).subscribers) == 1

            await eventually(alone, "the owner is gone")
            expected = 1
            async for frame in reader:
                assert int(frame.text) == expected
                expected += 1
                if expected == 500:
                    break
            async with endpoint.session(client, "/numbered?rate=1000", name="kept") as owner:
                async for frame in owner:
                    assert int(frame.text) >= expected
                    break
    assert len(await endpoint.exchange.connections()) == 1


# ---- SIGTERM. ----


async def test_sigterm(gateway: Gateway, endpoint: Endpoint) -> None:
    """The stream is told Draining, the session ends with its cause, the exchange is told 1001, the exit code is 0."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = Attachment(channel)
        opening = endpoint.opening("/numbered?rate=1000", session="md")
        await stream.say(pb.Command(channel=7, open=opening))
        await stream.state(7, pb.SESSION_STATE_OPEN)
        assert await gateway.terminate() == 0

        draining = await stream.hear(pb.Draining)
        assert draining.HasField("deadline")
        closed = await stream.state(7, pb.SESSION_STATE_CLOSED)
        assert fairlead.Reason(closed.cause.reason) is Reason.DRAINING
        ended = await stream.ended(7)
        assert ended.session_closed
        assert fairlead.Reason(ended.cause.reason) is Reason.DRAINING
        status = await stream.status()
        assert status.code is grpc.StatusCode.UNAVAILABLE
        assert status.failure is not None
        assert fairlead.Reason(status.failure.reason) is Reason.DRAINING

    endpoint.check_goodbye(await endpoint.exchange.closed(), 1001)
    assert not gateway.unix.exists()
    last = gateway.log.splitlines()[-1]
    assert "gateway.stopped" in last


async def test_sigterm_and_another_gateway(gateway: Gateway, client: fairlead.Gateway, endpoint: Endpoint) -> None:
    """For the Python client a gateway that stops in order is one that comes back."""
    async with (
        endpoint.session(client, "/numbered?rate=1000&feed=drain", start=fairlead.OLDEST) as session,
        asyncio.TaskGroup() as tasks,
    ):
        story = Story(session)
        reading = tasks.create_task(story.read())
        await eventually(lambda: numbers(story.entries), "numbers")
        assert await gateway.terminate() == 0
        await eventually(lambda: story.of(fairlead.Detached), "Detached")
        gateway.start()
        await eventually(lambda: len(story.epochs()) == 2 and numbers(story.epochs()[1]), "numbers again")
        reading.cancel()
    closed = [change for change in story.of(fairlead.StateChanged) if change.state is SessionState.CLOSED]
    assert len(closed) == 1
    assert closed[0].cause is not None
    assert closed[0].cause.reason is Reason.DRAINING


async def test_sigterm_while_nothing_is_there(gateway: Gateway) -> None:
    assert await gateway.terminate() == 0
    assert not gateway.unix.exists()


async def test_draining_takes_nobody_in(gateway: Gateway, exchange: Exchange) -> None:
    """While a session's exchange is slow to say goodbye, health says so, and nothing new begins."""
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        watch = health.Watch(health_pb2.HealthCheckRequest())  # type: ignore[attr-defined]
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        stream = Attachment(channel)
        await stream.say(pb.Command(channel=1, open=pb.Open(target=pb.Target(url=f"{exchange.ws}/idle"))))
        await stream.state(1, pb.SESSION_STATE_OPEN)
        await exchange.fault("silent")

        gateway.send_signal(signal.SIGTERM)
        await stream.hear(pb.Draining)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        watch.cancel()
        with pytest.raises(fairlead.GatewayUnavailable):
            async with fairlead.connect(gateway.address, connect_timeout=0.2):
                pass
        await stream.say(pb.Command(channel=2, id=5, open=pb.Open(target=pb.Target(url=f"{exchange.ws}/idle"))))
        refused = await stream.result(5)
        assert fairlead.Reason(refused.failure.reason) is Reason.DRAINING
        assert (await stream.ended(1)).session_closed
        assert await gateway.exit_code() == 0


async def test_shutdown_timeout_bounds_the_drain(start_gateway: StartGateway, exchange: Exchange) -> None:
    """A session whose goodbye would take longer does not keep the gateway."""
    gateway = start_gateway({"shutdown_timeout": "100ms"})
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.say(pb.Command(channel=1, open=pb.Open(target=pb.Target(url=f"{exchange.ws}/idle"))))
        await stream.state(1, pb.SESSION_STATE_OPEN)
        await exchange.fault("silent")
        assert await gateway.terminate() == 0


async def test_second_sigterm_ends_it_at_once(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway({"shutdown_timeout": "10m"})
    async with grpc.aio.insecure_channel(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.say(pb.Command(channel=1, open=pb.Open(target=pb.Target(url=f"{exchange.ws}/idle"))))
        await stream.state(1, pb.SESSION_STATE_OPEN)
        await exchange.fault("silent")
        gateway.send_signal(signal.SIGTERM)
        await stream.hear(pb.Draining)
        assert await gateway.terminate() == 1
    gateway.kill()
