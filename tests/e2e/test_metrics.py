"""/metrics says what has happened, and nothing that somebody chose to say."""

import re
from collections.abc import Mapping

import pytest

from fairlead.v1.http_pb2 import HttpResponse
from fairlead.v1.session_pb2 import (
    SESSION_STATE_OPEN,
    Command,
    Join,
    ListSessionsRequest,
    Open,
    Send,
    Start,
    Target,
)
from tests.e2e.admin_port import ADMIN, get
from tests.e2e.attach import Attachment, connected, sessions_of
from tests.e2e.callers import Papers, Serve, channel_to
from tests.e2e.conftest import StartGateway
from tests.e2e.http_calls import Failed, all_of, ask, asking, response
from tests.e2e.processes import ROOT, Exchange, Gateway, eventually

pytestmark = pytest.mark.plain


async def scrape(gateway: Gateway) -> dict[str, float]:
    page = await get(gateway, "/metrics")
    assert page.status == 200, page.text
    assert page.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    lines = [line.rsplit(" ", 1) for line in page.text.splitlines() if not line.startswith("#")]
    assert len({name for name, _ in lines}) == len(lines), "a sample is given twice"
    return {name.removeprefix("fairlead_"): float(value) for name, value in lines}


async def until(gateway: Gateway, name: str, value: float) -> dict[str, float]:
    async def has() -> dict[str, float] | None:
        metrics = await scrape(gateway)
        return metrics if metrics.get(name) == value else None

    found: dict[str, float] = await eventually(has, f"{name} is {value}")
    return found


def histogram(metrics: Mapping[str, float], name: str, labels: str = "") -> list[float]:
    """The counts of its buckets, which must be a histogram's."""
    begin = f"{name}_bucket{{{labels}{',' if labels else ''}le="
    counts = [value for sample, value in metrics.items() if sample.startswith(begin)]
    assert counts == sorted(counts), "cumulative"
    whole = f"{{{labels}}}" if labels else ""
    assert counts[-1] == metrics[f"{name}_count{whole}"]
    return counts


async def test_sessions_are_counted(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway(ADMIN)
    nothing = await scrape(gateway)
    assert nothing['sessions{state="OPEN"}'] == nothing['frames_total{direction="in"}'] == 0
    assert nothing['streams{rpc="Attach"}'] == 0
    async with connected(gateway.address) as channel:
        stream = Attachment(channel)
        await stream.open(1, Open(session="md", target=Target(url=f"{exchange.ws}/echo")))
        for number in range(3):
            await stream.say(Command(channel=1, id=number + 1, send=Send(payload=b"12345678")))
            await stream.frame(1)
        await exchange.fault("drop")
        await stream.state(1, SESSION_STATE_OPEN)
        # One that starts behind an entry that it has, one behind an entry of another journal.
        await stream.say(Command(channel=2, join=Join(session="md")))
        attached = await stream.attached(2)
        await stream.say(
            Command(
                channel=3, join=Join(session="md", start=Start(after=Start.After(epoch=attached.epoch, sequence=1)))
            ),
            Command(channel=4, join=Join(session="md", start=Start(after=Start.After(epoch="another", sequence=1)))),
        )
        await stream.attached(4)
        await sessions_of(channel).ListSessions(ListSessionsRequest())
        metrics = await until(gateway, 'rpcs_total{rpc="ListSessions",code="OK"}', 1)
        assert metrics['sessions{state="OPEN"}'] == 1
        assert metrics['streams{rpc="Attach"}'] == 1
        assert metrics["connections"] == 1
        assert metrics['frames_total{direction="in"}'] == metrics['frames_total{direction="out"}'] == 3
        assert metrics['frame_bytes_total{direction="in"}'] == metrics['frame_bytes_total{direction="out"}'] == 24
        assert metrics["journal_bytes"] > 3 * (64 + 8)
        reconnects = {name: value for name, value in metrics.items() if name.startswith("reconnects_total")}
        assert list(reconnects.values()) == [1]
        assert histogram(metrics, "time_to_recover_seconds")[-1] == 1
        assert metrics['resumes_total{result="continued"}'] == 1
        assert metrics['resumes_total{result="epoch_changed"}'] == 1
        assert histogram(metrics, "rpc_seconds", 'rpc="ListSessions"')[-1] == 1
        # Each frame came alone. What the late ones were given of the past is no latency.
        assert histogram(metrics, "added_latency_seconds")[-1] == 3
        assert 0 < metrics["added_latency_seconds_sum"] < 30
        stream.cancel()
        metrics = await until(gateway, 'rpcs_total{rpc="Attach",code="CANCELLED"}', 1)
        assert metrics['streams{rpc="Attach"}'] == 0


async def test_requests_are_counted(start_gateway: StartGateway, exchange: Exchange) -> None:
    gateway = start_gateway(ADMIN)
    async with connected(gateway.address) as channel:
        assert (await response(channel, asking(f"{exchange.http}/echo"))).status == 200
        results = await all_of(channel, *(asking(f"{exchange.http}/status/503") for _ in range(3)))
        assert all(isinstance(result, HttpResponse) for result in results)
        assert isinstance(await ask(channel, asking("http://127.0.0.1:1/")), Failed)
        assert isinstance(await ask(channel, asking("no URL")), Failed)
        metrics = await scrape(gateway)
    requests = {name: value for name, value in metrics.items() if name.startswith("http_requests_total")}
    assert requests == {
        'http_requests_total{class="1xx"}': 0,
        'http_requests_total{class="2xx"}': 1,
        'http_requests_total{class="3xx"}': 0,
        'http_requests_total{class="4xx"}': 0,
        'http_requests_total{class="5xx"}': 3,
        'http_requests_total{class="failed"}': 1,
    }
    assert histogram(metrics, "http_seconds", 'phase="total"')[-1] == 4
    assert 1 <= histogram(metrics, "http_seconds", 'phase="connect"')[-1] <= 4
    assert histogram(metrics, "http_seconds", 'phase="tls"')[-1] == 0
    assert 1 <= metrics["http_connections"] <= 4
    assert metrics["http_requests_under_way"] == 0
    assert metrics['rpcs_total{rpc="Send",code="OK"}'] == 4
    assert metrics['rpcs_total{rpc="Send",code="INVALID_ARGUMENT"}'] == 1
    assert histogram(metrics, "rpc_seconds", 'rpc="Send"')[-1] == 6


async def test_what_the_process_uses(start_gateway: StartGateway) -> None:
    gateway = start_gateway({**ADMIN, "limits": {"connections": 1}})
    metrics = await scrape(gateway)
    assert metrics["open_files"] <= metrics["open_files_limit"]
    assert abs(metrics["resident_bytes"] - gateway.resident_bytes) < 32 << 20
    assert [name for name in metrics if name.startswith("build_info")] == ['build_info{version="0.1.0"}']
    assert "certificate_expiry_seconds" not in metrics
    async with connected(gateway.address) as first, connected(f"dns:{gateway.grpc}") as second:
        await sessions_of(first).ListSessions(ListSessionsRequest())
        refused = second.get_state(try_to_connect=True)
        assert refused is not None

        async def counted() -> bool:
            return (await scrape(gateway))['accept_refused_total{reason="limit"}'] >= 1

        await eventually(counted, "a refused connection is counted")


async def test_when_certificates_end(serve: Serve, papers: Papers) -> None:
    gateway = serve(**ADMIN)
    metrics = await scrape(gateway)
    assert metrics["certificate_expiry_seconds"] > metrics["start_time_seconds"]
    # Nobody: each RPC is counted, whoever calls.
    async with channel_to(gateway, papers) as channel:
        assert isinstance(await ask(channel, asking("http://127.0.0.1:1/")), Failed)
    await until(gateway, 'rpcs_total{rpc="Send",code="UNAUTHENTICATED"}', 1)


async def test_every_metric_is_documented_and_every_documented_one_is_there(serve: Serve) -> None:
    page = (ROOT / "docs/observability.md").read_text()
    documented = dict(re.findall(r"^\| `fairlead_(\w+)` \| (\w+) \|", page, re.MULTILINE))
    text = (await get(serve(**ADMIN), "/metrics")).text
    assert documented == dict(re.findall(r"^# TYPE fairlead_(\w+) (\w+)$", text, re.MULTILINE))
