"""Fixtures: the real binaries, and a client connected to them. Each test has its own: they start in 0.1 s."""

import contextlib
import os
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import grpc
import pytest
import trustme

import fairlead
from tests.e2e import secure
from tests.e2e.attach import Attachment, connected
from tests.e2e.callers import Papers, Serve, tls_listener
from tests.e2e.endpoints import SCHEMES, Endpoint
from tests.e2e.processes import BUILD, Exchange, Gateway, Process


class StartGateway(Protocol):
    """Starts a gateway that trusts the exchange and the test's other servers.

    `config` replaces top-level fields of the configuration.
    """

    def __call__(
        self,
        config: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> Gateway: ...


secure.install()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    missing = [name for name in ("fairlead", "exchange") if not (BUILD / name).exists()]
    if missing and any(Path(__file__).parent in item.path.parents for item in items):
        raise pytest.UsageError(f"{', '.join(missing)} not built in {BUILD}: run `make build`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Shows the logs of what a failed test started."""
    report = yield
    if report.failed:  # type: ignore[attr-defined]
        for process in Process.started:
            report.sections.append((f"log of {process.binary}", process.log))  # type: ignore[attr-defined]
    return report


@pytest.fixture(autouse=True)
def _processes(scratch: Path) -> Iterator[None]:
    """What a test starts ends with it, in order; nothing else may be left."""
    Process.started.clear()
    before = _children()
    yield
    failures = []
    # Clients of the exchange first.
    for process in sorted(Process.started, key=lambda process: process.binary, reverse=True):
        try:
            process.stop()
        except AssertionError as failure:
            failures.append(failure)
    left = {pid: name for pid, name in _children().items() if pid not in before}
    assert not left, f"the test leaves processes behind: {left}"
    if failures:
        raise failures[0]


def _children() -> dict[int, str]:
    """Processes that this one started and that still run."""
    found = {}
    for children in Path("/proc/self/task").glob("*/children"):
        pids: list[str] = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # The thread has just ended.
            pids = children.read_text().split()
        for pid in pids:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # It has just ended.
                name, state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)
                if state.split()[0] != "Z":
                    found[int(pid)] = name.split("(", 1)[1]
    return found


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory whose name is short enough for a socket's path."""
    with TemporaryDirectory(prefix="fl-") as directory:
        yield Path(directory)


@pytest.fixture
def exchange(scratch: Path, _processes: None) -> Exchange:
    """A simulated exchange of this test's own."""
    exchange = Exchange(scratch)
    exchange.start()
    return exchange


@pytest.fixture(params=SCHEMES)
def endpoint(request: pytest.FixtureRequest, exchange: Exchange) -> Endpoint:
    """`exchange`, by each kind of socket; `parametrize("endpoint", [...], indirect=True)` chooses some."""
    return Endpoint(request.param, exchange)


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    """Who certifies the servers that are not the exchange."""
    return trustme.CA()


@pytest.fixture(scope="session")
def tls(authority: trustme.CA) -> ssl.SSLContext:
    """For servers that are not the exchange; gateways trust them."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
    return context


@pytest.fixture
def start_gateway(
    request: pytest.FixtureRequest, scratch: Path, exchange: Exchange, authority: trustme.CA
) -> StartGateway:
    """Starts gateways; the first lies in `scratch`, further ones in directories below it."""
    made: list[Gateway] = []
    peers = scratch / "authority.pem"
    authority.cert_pem.write_to_path(str(peers))

    def start_gateway(
        config: Mapping[str, Any] | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        start: bool = True,
    ) -> Gateway:
        place = scratch / str(len(made)) if made else scratch
        place.mkdir(exist_ok=True)
        # Without the system's authorities: no test's server is theirs, and reading them is half of a gateway's start.
        tls = {"ca_files": [str(exchange.ca), str(peers)], "system_authorities": False}
        plain = request.node.get_closest_marker("plain") or {"listeners", "callers", "policies"} & (config or {}).keys()
        secured = secure.ON and not plain
        more = secure.listeners(place / "fairlead.sock") if secured else {}
        gateway = Gateway(place, {"tls": tls, **more, **(config or {})}, environment)
        gateway.secured = secured
        made.append(gateway)
        if start:
            gateway.start()
        return gateway

    return start_gateway


@pytest.fixture(scope="session")
def papers() -> Papers:
    """Certificates of callers and gateways."""
    return Papers()


@pytest.fixture
def serve(start_gateway: StartGateway, papers: Papers, scratch: Path) -> Serve:
    """Starts a gateway that serves whom each call proves to come from."""

    def serve(*, certificates: bool = False, **config: Any) -> Gateway:
        return start_gateway({**tls_listener(papers, scratch, certificates=certificates), **config})

    return serve


@pytest.fixture
def gateway(start_gateway: Callable[[], Gateway]) -> Gateway:
    """A gateway with Unix socket, TCP port and reflection that may connect to loopback and trusts the exchange."""
    return start_gateway()


@pytest.fixture
async def client(gateway: Gateway) -> AsyncIterator[fairlead.Gateway]:
    """The Python client, connected to `gateway`."""
    async with fairlead.connect(gateway.address) as client:
        yield client


@pytest.fixture
async def channel(gateway: Gateway) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel to `gateway`, for the generated stubs."""
    async with connected(gateway.address) as channel:
        yield channel


@pytest.fixture
async def stream(channel: grpc.aio.Channel) -> Attachment:
    """A raw Attach stream on it."""
    return Attachment(channel)


@pytest.fixture
def seed() -> int:
    """For random choices; FAIRLEAD_SEED repeats a run."""
    seed = int(os.environ.get("FAIRLEAD_SEED") or int.from_bytes(os.urandom(4)))
    print(f"FAIRLEAD_SEED={seed}")
    return seed
