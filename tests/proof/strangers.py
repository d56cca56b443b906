"""Ten thousand connections that say nothing, and what somebody else's calls take beside them."""

import os
import resource
import socket
import tempfile
import time
from pathlib import Path

import fairlead
from tests.e2e.processes import PATIENCE_S, Exchange, Gateway, eventually
from tests.proof.usage import Usage

STRANGERS = 10_000
CALLS = 1_000


async def strangers(_: Gateway, exchange: Exchange) -> dict[str, float]:
    """Security case 28: idle TCP connections at one listener, another identity's echoes over the other."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, STRANGERS + 1000)), hard))
    with tempfile.TemporaryDirectory() as scratch:
        unix = {"identity": "desk", "unix": {"path": f"{scratch}/fairlead.sock"}}
        tcp = {"identity": "strangers", "tcp": {"host": "127.0.0.1"}}
        crowded = Gateway(Path(scratch), {"listeners": [unix, tcp], "limits": {"connections": STRANGERS + 100}})
        crowded.start()
        idle: list[socket.socket] = []
        try:
            async with (
                fairlead.connect(crowded.address) as client,
                client.websocket(f"{exchange.ws}/echo") as session,
            ):
                alone = await _p99_ms(session)
                before = Usage.of(crowded.pid).resident_bytes
                none = _descriptors(crowded)
                host, port = crowded.grpc.rsplit(":", 1)
                while len(idle) < STRANGERS:
                    idle.append(socket.create_connection((host, int(port)), timeout=PATIENCE_S))
                await eventually(lambda: _descriptors(crowded) > none + STRANGERS, "they are let in")
                beside = await _p99_ms(session)
                grown = Usage.of(crowded.pid).resident_bytes - before
                for each in idle:
                    each.close()
                await eventually(lambda: _descriptors(crowded) < none + 100, "descriptors are back")
                async with fairlead.connect(crowded.grpc, connect_timeout=PATIENCE_S) as late:
                    assert await late.sessions() == []
        finally:
            for each in idle:
                each.close()
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            crowded.stop()
    return {
        "strangers: memory of one, KiB": grown / STRANGERS / 1024,
        "strangers: p99 of another's echo alone, ms": alone,
        "strangers: p99 of another's echo beside them, ms": beside,
    }


def _descriptors(gateway: Gateway) -> int:
    return len(os.listdir(f"/proc/{gateway.pid}/fd"))


async def _p99_ms(session: fairlead.Session) -> float:
    took = []
    frames = aiter(session)
    for number in range(CALLS):
        began = time.perf_counter()
        await session.send(f"{number}")
        assert (await anext(frames)).text == f"{number}"
        took.append(time.perf_counter() - began)
    return sorted(took)[CALLS * 99 // 100] * 1e3
