"""fairlead.testing with the real binaries: what authors of adapters test with."""

import asyncio

import pytest

import fairlead
from fairlead.testing import Stack, StackError
from tests.e2e.processes import BUILD, PATIENCE_S, eventually


@pytest.fixture(autouse=True)
def _binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_BINARY", str(BUILD / "fairlead"))
    monkeypatch.setenv("FAIRLEAD_EXCHANGE", str(BUILD / "exchange"))


async def numbers(session: fairlead.Session, count: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(PATIENCE_S):
        async for frame in session:
            found.append(int(frame.payload.split()[0]))
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize("scheme", ["ws", "wss"])
async def test_an_adapter_survives_a_fault_and_a_crash_of_the_gateway(scheme: str) -> None:
    with Stack() as stack:
        url = getattr(stack.exchange, scheme) + "/numbered?rate=500"
        reconnect = fairlead.Reconnect(initial_backoff=0.05)
        at_once = fairlead.Retention(linger=0)
        async with (
            fairlead.connect(stack.address) as gateway,
            gateway.websocket(url, name="md", reconnect=reconnect, retention=at_once) as session,
        ):
            before = await numbers(session, 10)
            assert before == list(range(before[0], before[0] + 10))
            assert len(stack.exchange.fault("drop")) == 1
            while session.generation < 2:
                await numbers(session, 1)
            epoch = session.epoch
            stack.gateway.kill()
            stack.start_gateway()
            while session.epoch == epoch:
                await numbers(session, 1)
            assert (await numbers(session, 1))[0] > before[-1]
        await eventually(
            lambda: all(each["state"] == "closed" for each in stack.exchange.connections()),
            "all connections are closed",
        )


async def test_a_refused_connection_is_told() -> None:
    with Stack() as stack:
        stack.exchange.accept("refuse")
        once = fairlead.Reconnect(max_attempts=1)
        async with fairlead.connect(stack.address) as gateway:
            with pytest.raises(fairlead.SessionEnded) as raised:
                await gateway.websocket(stack.exchange.ws + "/idle", reconnect=once).open()
        assert raised.value.reason is fairlead.Reason.ATTEMPTS_EXHAUSTED


def test_a_wrong_configuration_is_shown() -> None:
    with pytest.raises(StackError, match=r"did not start(.*\n)*.*nonsense"), Stack(config={"nonsense": 1}):
        pytest.fail("it started")


def test_a_wrong_fault_is_refused() -> None:
    with Stack() as stack, pytest.raises(StackError, match="POST /fault"):
        stack.exchange.fault("nonsense")
