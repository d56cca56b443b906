"""What becomes of an owner's commands: exactly one result each, and never a stale send."""

from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from fairlead.v1 import session_pb2 as pb
from fairlead.v1 import types_pb2 as types
from tests.e2e.attach import Attachment, Frame, seconds, sessions_of, span
from tests.e2e.endpoints import Endpoint
from tests.e2e.processes import Exchange, eventually

SOON = pb.ReconnectPolicy(initial_backoff=span(0.01), max_backoff=span(0.01))
MINUTE = Duration(seconds=60)


def opening(url: str, **fields: Any) -> pb.Open:
    return pb.Open(session="md", target=pb.Target(url=url), **{"reconnect": SOON, **fields})


def opening_at(endpoint: Endpoint, path: str, **fields: Any) -> pb.Open:
    return endpoint.opening(path, session="md", **{"reconnect": SOON, **fields})


def step(key: str) -> pb.SetupStep:
    return pb.SetupStep(key=key, payload=f"setup {key}".encode())


async def texts(exchange: Exchange, connection: int | str = "latest") -> list[str]:
    return [frame["text"] for frame in (await exchange.connection(connection))["frames"]]


# ---- Results. ----


async def test_results_are_entries(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    """In order with the frames, numbered like them, and seen by every subscriber."""
    await stream.open(1, opening_at(endpoint, "/echo"))
    other = Attachment(channel)
    await other.say(pb.Command(channel=9, join=pb.Join(session="md")))
    await other.attached(9)
    await stream.say(*(pb.Command(channel=1, id=100 + at, send=pb.Send(payload=b"%d" % at)) for at in range(1, 51)))
    # Without an id there is no result.
    await stream.say(pb.Command(channel=1, send=pb.Send(payload=b"last", kind=types.FRAME_KIND_BINARY)))

    for reader, at in ((stream, 1), (other, 9)):
        results: list[pb.CommandResult] = []
        frames: list[Frame] = []
        while not frames or frames[-1].payload != b"last":
            item = await reader.next()
            if isinstance(item, pb.StateChanged):
                continue  # Of the way up.
            assert isinstance(item, pb.CommandResult | Frame)
            assert item.channel == at
            if isinstance(item, Frame):
                frames.append(item)
            else:
                results.append(item)
        assert [result.id for result in results] == list(range(101, 151))
        assert {(result.outcome, result.generation) for result in results} == {(pb.OUTCOME_WRITTEN, 1)}
        assert not any(result.HasField("failure") for result in results)
        assert [frame.payload for frame in frames] == [b"%d" % at for at in range(1, 51)] + [b"last"]
        assert frames[-1].kind == types.FRAME_KIND_BINARY
        assert {frame.kind for frame in frames[:-1]} == {endpoint.kind}
        sequences = [result.sequence for result in results] + [frame.sequence for frame in frames]
        assert sorted(sequences) == list(range(4, 4 + 101)), "one sequence for all entries"


async def test_send_without_transport(stream: Attachment, exchange: Exchange) -> None:
    await exchange.accept("never_upgrade")
    await stream.say(pb.Command(channel=1, open=opening(f"{exchange.ws}/idle")))
    await stream.state(1, pb.SESSION_STATE_CONNECTING)
    await stream.say(
        pb.Command(channel=1, id=1, send=pb.Send(payload=b"now")),
        pb.Command(channel=1, id=2, ping=pb.Ping()),
        pb.Command(channel=1, id=3, send=pb.Send(payload=b"soon", max_wait=span(0.05))),
    )
    for command, reason in (
        (1, types.REASON_NOT_OPEN),
        (2, types.REASON_NOT_OPEN),
        (3, types.REASON_WAIT_EXPIRED),
    ):
        result = await stream.result(command)
        assert result.outcome == pb.OUTCOME_NOT_SENT
        assert result.sequence > 0, "it reached the session, so it is an entry"
        assert (result.failure.reason, result.failure.phase) == (reason, types.PHASE_NOT_SENT)


async def test_wait_for_the_next_transport(stream: Attachment, endpoint: Endpoint) -> None:
    """What waits is written to the next transport that opens, after its setup, in order."""
    exchange = endpoint.exchange
    await exchange.accept("refuse")
    login = pb.SetupStep(key="login", payload=b"login", expect=types.Match(contains=[b'"ok":true']))
    await stream.say(pb.Command(channel=1, open=opening_at(endpoint, "/login", setup=[login])))
    await stream.say(
        pb.Command(channel=1, id=1, send=pb.Send(payload=b"one", max_wait=MINUTE)),
        pb.Command(channel=1, id=2, send=pb.Send(payload=b"never", max_wait=span(0.02))),
        pb.Command(channel=1, id=3, send=pb.Send(payload=b"two", max_wait=MINUTE)),
    )
    assert (await stream.result(2)).failure.reason == types.REASON_WAIT_EXPIRED
    await exchange.accept("normal")
    opened = await stream.state(1, pb.SESSION_STATE_OPEN)
    one, two = await stream.result(1), await stream.result(3)
    assert [result.outcome for result in (one, two)] == [pb.OUTCOME_WRITTEN] * 2
    assert [result.generation for result in (one, two)] == [opened.generation] * 2
    assert opened.sequence < one.sequence < two.sequence
    await eventually_texts(exchange, ["login", "one", "two"])


async def eventually_texts(exchange: Exchange, expected: list[str]) -> None:
    """WRITTEN means in the kernel: the exchange reads it a little later."""

    async def arrived() -> bool:
        return len(await texts(exchange)) >= len(expected)

    await eventually(arrived, f"{expected}")
    assert await texts(exchange) == expected


async def eventually_connected(exchange: Exchange) -> None:
    """With TLS 1.3 the gateway is through the handshake first: the exchange a little later."""

    async def connected() -> bool:
        return any(record["state"] == "open" for record in await exchange.connections())

    await eventually(connected, "the exchange has the connection")


async def test_close_ends_what_waits(stream: Attachment, exchange: Exchange) -> None:
    await exchange.accept("never_upgrade")
    await stream.say(
        pb.Command(channel=1, open=opening(f"{exchange.ws}/idle")),
        pb.Command(channel=1, id=1, send=pb.Send(payload=b"x", max_wait=MINUTE)),
        pb.Command(channel=1, id=2, close=pb.Close()),
    )
    result = await stream.result(1)
    assert (result.outcome, result.failure.reason) == (pb.OUTCOME_NOT_SENT, types.REASON_CLOSED)
    assert (await stream.ended(1)).cause.reason == types.REASON_CLOSED


async def test_what_a_lost_transport_leaves(stream: Attachment, endpoint: Endpoint) -> None:
    """The exchange stops reading, then is gone: WRITTEN, one UNKNOWN, NOT_SENT; nothing is written to the next one."""
    exchange = endpoint.exchange
    await stream.open(1, opening_at(endpoint, "/idle"))
    await eventually_connected(exchange)
    await exchange.fault("never_read")
    count, size = 40, 512 * 1024
    for at in range(1, count + 1):
        await stream.say(pb.Command(channel=1, id=at, send=pb.Send(payload=b"x" * size)))
    # So many that the queue is full, too.
    results = {}
    refused = await stream.hear(pb.CommandResult, lambda result: result.outcome == pb.OUTCOME_NOT_SENT)
    assert refused.failure.reason == types.REASON_LIMIT_REACHED
    assert "limits.send_queue_bytes" in refused.failure.message
    results[refused.id] = refused
    # Commands are read in their order: with this one all have been.
    await stream.say(pb.Command(channel=1, id=999, send=pb.Send(payload=b"x", generation=7)))
    assert (await stream.result(999)).failure.reason == types.REASON_WRONG_GENERATION
    await exchange.fault("reset")
    await stream.hear(pb.StateChanged, lambda change: change.state == pb.SESSION_STATE_OPEN and change.generation == 2)
    for at in range(1, count + 1):
        if at not in results:
            results[at] = await stream.result(at)

    # The kernel may take a little more later: behind one that was refused, one may find room.
    taken = [at for at in range(1, count + 1) if results[at].failure.reason != types.REASON_LIMIT_REACHED]
    outcomes = [results[at].outcome for at in taken]
    unknown = outcomes.index(pb.OUTCOME_UNKNOWN)
    assert outcomes[:unknown] == [pb.OUTCOME_WRITTEN] * unknown
    unsent = outcomes[unknown + 1 :]
    assert unsent == [pb.OUTCOME_NOT_SENT] * len(unsent)
    assert unsent
    cut = results[taken[unknown]]
    assert (cut.failure.reason, cut.failure.phase) == (types.REASON_CONNECTION_LOST, types.PHASE_PARTLY_SENT)
    assert {results[at].failure.reason for at in taken[unknown + 1 :]} == {types.REASON_CONNECTION_LOST}
    refused_or_unsent = set(range(1, count + 1)) - set(taken[: unknown + 1])
    assert all(results[at].failure.phase == types.PHASE_NOT_SENT for at in refused_or_unsent)
    # The next transport carries what is sent on it, and nothing else.
    await stream.say(pb.Command(channel=1, id=1000, send=pb.Send(payload=b"fresh", generation=2)))
    assert (await stream.result(1000)).outcome == pb.OUTCOME_WRITTEN
    await eventually_texts(exchange, ["fresh"])


# ---- Generations and Reconnect. ----


async def test_generation(stream: Attachment, endpoint: Endpoint) -> None:
    await stream.open(1, opening_at(endpoint, "/idle"))
    await stream.say(pb.Command(channel=1, id=1, send=pb.Send(payload=b"first", generation=1)))
    assert (await stream.result(1)).outcome == pb.OUTCOME_WRITTEN
    await stream.say(pb.Command(channel=1, id=2, reconnect=pb.Reconnect()))
    assert (await stream.result(2)).outcome == pb.OUTCOME_DONE
    await stream.hear(pb.StateChanged, lambda change: change.state == pb.SESSION_STATE_OPEN and change.generation == 2)
    await stream.say(
        pb.Command(channel=1, id=3, send=pb.Send(payload=b"stale", generation=1, max_wait=MINUTE)),
        pb.Command(channel=1, id=4, send=pb.Send(payload=b"early", generation=3, max_wait=MINUTE)),
        pb.Command(channel=1, id=5, send=pb.Send(payload=b"right", generation=2)),
    )
    for command in (3, 4):
        result = await stream.result(command)
        assert (result.outcome, result.failure.reason) == (pb.OUTCOME_NOT_SENT, types.REASON_WRONG_GENERATION)
    assert (await stream.result(5)).outcome == pb.OUTCOME_WRITTEN
    await eventually_texts(endpoint.exchange, ["right"])


async def test_reconnect(stream: Attachment, endpoint: Endpoint) -> None:
    """The old transport is closed politely, the new one comes at once, and the outage is told like any other."""
    await stream.open(1, opening_at(endpoint, "/numbered?rate=1000&feed=reconnect"))
    await stream.frames(1, 10)
    await stream.say(pb.Command(channel=1, id=1, reconnect=pb.Reconnect()))
    done = await stream.result(1)
    assert done.outcome == pb.OUTCOME_DONE
    assert done.sequence > 0
    lost = await stream.state(1, pb.SESSION_STATE_RECONNECTING)
    assert lost.cause.reason == types.REASON_RECONNECT_REQUESTED
    assert (seconds(lost.retry_in), lost.attempt) == (0, 1)
    again = await stream.hear(
        pb.StateChanged, lambda change: change.state == pb.SESSION_STATE_OPENING and change.generation == 2
    )
    assert again.HasField("blind_from")
    assert again.HasField("blind_until")
    old, _ = await endpoint.exchange.connections()
    endpoint.check_goodbye(old, 1000)


async def test_reconnect_cuts_a_pause_short(stream: Attachment, exchange: Exchange) -> None:
    hour = Duration(seconds=3600)
    patient = pb.ReconnectPolicy(initial_backoff=hour, max_backoff=hour)
    await exchange.accept("refuse")
    await stream.say(pb.Command(channel=1, open=opening(f"{exchange.ws}/idle", reconnect=patient)))
    pause = await stream.state(1, pb.SESSION_STATE_RECONNECTING)
    assert pause.cause.reason == types.REASON_CONNECT_FAILED
    await exchange.accept("normal")
    await stream.say(pb.Command(channel=1, id=1, reconnect=pb.Reconnect()))
    await stream.state(1, pb.SESSION_STATE_OPEN)


# ---- Setup that changes. ----


async def test_setup_keys(channel: grpc.aio.Channel, stream: Attachment, endpoint: Endpoint) -> None:
    """A subscription is a send with a key, an unsubscription one that forgets: the next connection sees just that."""
    exchange = endpoint.exchange

    async def keys() -> list[str]:
        answer = await sessions_of(channel).GetSession(pb.GetSessionRequest(session="md"))
        return list(answer.session.setup_keys)

    generation = 1

    async def reconnected() -> list[str]:
        nonlocal generation
        generation += 1
        await stream.say(pb.Command(channel=1, reconnect=pb.Reconnect()))
        await stream.hear(
            pb.StateChanged,
            lambda change: change.state == pb.SESSION_STATE_OPEN and change.generation == generation,
        )
        expected = len(await keys())

        async def arrived() -> bool:
            return len(await texts(exchange)) == expected

        await eventually(arrived, "the setup has arrived")
        return await texts(exchange)

    attached = await stream.open(1, opening_at(endpoint, "/idle", setup=[step("login"), step("a")]))
    assert list(attached.setup_keys) == ["login", "a"]
    await stream.say(
        pb.Command(channel=1, id=1, send=pb.Send(payload=b"subscribe b", setup_key="b")),
        pb.Command(channel=1, id=2, send=pb.Send(payload=b"subscribe c", setup_key="c")),
        # In place of the one of the same key.
        pb.Command(channel=1, id=3, send=pb.Send(payload=b"subscribe a anew", setup_key="a")),
        pb.Command(channel=1, id=4, send=pb.Send(payload=b"no key")),
    )
    for command in (1, 2, 3, 4):
        assert (await stream.result(command)).outcome == pb.OUTCOME_WRITTEN
    assert await keys() == ["login", "a", "b", "c"]
    assert await reconnected() == ["setup login", "subscribe a anew", "subscribe b", "subscribe c"]

    forget = pb.Send(payload=b"unsubscribe", forget_setup_keys=["b", "unknown", "a"])
    await stream.say(pb.Command(channel=1, id=5, send=forget))
    assert (await stream.result(5)).outcome == pb.OUTCOME_WRITTEN
    assert await keys() == ["login", "c"]
    assert await reconnected() == ["setup login", "subscribe c"]

    # What was not sent is not remembered.
    await stream.say(
        pb.Command(channel=1, id=6, send=pb.Send(payload=b"never", setup_key="d", generation=1)),
        pb.Command(channel=1, id=7, send=pb.Send(payload=b"never", forget_setup_keys=["c"], generation=1)),
    )
    for command in (6, 7):
        assert (await stream.result(command)).outcome == pb.OUTCOME_NOT_SENT
    assert await reconnected() == ["setup login", "subscribe c"]


# ---- Ping. ----


async def test_pong_comes_to_the_owner_alone(channel: grpc.aio.Channel, stream: Attachment, exchange: Exchange) -> None:
    await stream.open(1, opening(f"{exchange.ws}/idle"))
    other = Attachment(channel)
    await other.say(pb.Command(channel=1, join=pb.Join(session="md")))
    await other.attached(1)
    await stream.say(pb.Command(channel=1, id=1, ping=pb.Ping(payload=b"\x00\xffpayload")))
    assert (await stream.result(1)).outcome == pb.OUTCOME_WRITTEN
    pong = await stream.hear(pb.Pong)
    assert (pong.channel, pong.payload) == (1, b"\x00\xffpayload")
    assert 0 < seconds(pong.round_trip) < 60
    # The reader has the result, which is an entry, and no pong.
    await exchange.send(text="after")
    assert (await other.result(1)).outcome == pb.OUTCOME_WRITTEN
    await other.frame(1)
    assert other.heard(pb.Pong) == []
    assert (await exchange.connection())["pings_received"] == 1
