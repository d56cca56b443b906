"""fairlead.testing: binaries found, started and ended whatever happens, and the pytest plugin. With stand-ins."""

import asyncio
import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import fairlead
from fairlead.testing import Stack, StackError, process
from fairlead.testing.process import Binary
from tests import fake_binaries
from tests.fake_gateway import PATIENCE_S

GATEWAY = Binary("fairlead", "FAIRLEAD_BINARY")


@pytest.fixture
def binaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the stand-ins the binaries that are found."""
    fake_binaries.install(tmp_path)
    monkeypatch.setenv("FAIRLEAD_BINARY", str(tmp_path / "fairlead"))
    monkeypatch.setenv("FAIRLEAD_EXCHANGE", str(tmp_path / "exchange"))
    return tmp_path


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    before = children()
    yield
    assert children() == before


def children() -> set[str]:
    """Give the processes that this one started."""
    return {pid for each in Path("/proc/self/task").glob("*/children") for pid in each.read_text().split()}


def executable(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


def test_binaries_are_found_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FAIRLEAD_BINARY", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(process, "_CHECKOUT", tmp_path / "checkout")
    with pytest.raises(StackError, match=r"`fairlead` .* set FAIRLEAD_BINARY .* PATH, or run `make build`"):
        GATEWAY.find()
    built = executable(tmp_path / "checkout/build/release/fairlead")
    with pytest.raises(StackError):
        GATEWAY.find()  # That would be the build directory of something else.
    (tmp_path / "checkout/clients/python").mkdir(parents=True)
    assert GATEWAY.find() == built
    on_path = executable(tmp_path / "bin/fairlead")
    assert GATEWAY.find() == on_path
    named = executable(tmp_path / "own")
    monkeypatch.setenv("FAIRLEAD_BINARY", str(named))
    assert GATEWAY.find() == named
    named.chmod(stat.S_IRUSR)
    with pytest.raises(StackError, match=r"FAIRLEAD_BINARY=.*own: there is no executable file"):
        GATEWAY.find()


async def test_a_stack_lives_and_ends(binaries: Path) -> None:
    with Stack(config={"limits": {"sessions": 2}}) as stack:
        pids = {str(stack.gateway.pid), str(stack.exchange.pid)}
        assert pids <= children()
        assert Stack.running == [stack]
        async with fairlead.connect(stack.address) as gateway:
            assert await gateway.sessions() == []
        exchange = stack.exchange
        assert (exchange.ws, exchange.https, exchange.tcp) == (
            "ws://127.0.0.1:1",
            "https://127.0.0.1:2",
            "tcp://127.0.0.1:3",
        )
        with pytest.raises(StackError, match="wss: the exchange has no listener"):
            _ = exchange.wss
        config = json.loads(stack.gateway.log.splitlines()[0])
        assert config["egress"]["rules"][0]["schemes"] == ["ws", "https", "tcp"]
        assert config["tls"]["ca_files"] == [str(exchange.ca_file)]
        assert config["limits"] == {"sessions": 2}
    assert Stack.running == []
    assert not stack.gateway.running
    assert not exchange.ca_file.parent.exists()
    with pytest.raises(StackError, match="can be entered once"), stack:
        pytest.fail("it was entered twice")


def test_the_exchange_is_commanded(binaries: Path) -> None:
    with Stack() as stack:
        exchange = stack.exchange
        assert exchange.fault("drop", connection=7, after=3) == [1, 2]
        exchange.accept("slow_handshake", ms=5)
        exchange.send(text="x")
        exchange.http_fault("reset")
        assert "/fault {'kind': 'drop', 'connection': 7, 'after': 3}" in exchange.log
        assert "/accept {'mode': 'slow_handshake', 'ms': 5}" in exchange.log
        assert "/send {'connection': 'latest', 'text': 'x'}" in exchange.log
        assert "/http_fault {'kind': 'reset'}" in exchange.log
        assert (exchange.connections(), exchange.http_requests()) == ([], [])
        assert exchange.connection()["id"] == "/connections/latest"
        with pytest.raises(StackError, match="no fault nonsense"):
            exchange.fault("nonsense")
        exchange.kill()
        with pytest.raises(StackError, match="does not answer"):
            exchange.accept("normal")


async def test_a_gateway_can_crash_and_come_back(binaries: Path) -> None:
    with Stack() as stack:
        async with fairlead.connect(stack.address) as gateway:
            stack.gateway.kill()
            assert not stack.gateway.running
            stack.start_gateway()
            async with asyncio.timeout(PATIENCE_S):
                while not gateway.attached:  # noqa: ASYNC110 - there is no event for it
                    await asyncio.sleep(0.01)
        with pytest.raises(StackError, match="runs already"):
            stack.start_gateway()


@pytest.mark.parametrize("name", ["fairlead", "exchange"])
@pytest.mark.parametrize(
    ("fault", "says"), [("silent", r"said 'nothing'\nsome reason"), ("wrong", r"did not start: it said 'cat ready")]
)
def test_what_does_not_start_is_shown(
    binaries: Path, monkeypatch: pytest.MonkeyPatch, name: str, fault: str, says: str
) -> None:
    monkeypatch.setenv("FAKE_FAULT", f"{name}:{fault}")
    with pytest.raises(StackError, match=says) as raised, Stack():
        pytest.fail("it did not start")
    assert str(binaries / name) in str(raised.value)


def test_what_says_nothing_is_waited_for_only_so_long(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (binaries / "exchange").write_text("#!/bin/sh\nexec sleep 600\n")
    monkeypatch.setattr(process, "START_PATIENCE_S", 0.1)
    with pytest.raises(StackError, match="said 'nothing'"), Stack():
        pytest.fail("it did not start")


def test_a_crash_fails_the_block(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAULT", "fairlead:crash")
    with pytest.raises(StackError, match=r"ended with status 3\n(.*\n)*fairlead is about to be ready"):  # noqa: SIM117
        with Stack() as stack:
            stack.gateway.wait_ended()


def test_what_does_not_end_is_killed(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKE_FAULT", "fairlead:stubborn")
    monkeypatch.setattr(process, "STOP_PATIENCE_S", 0.1)
    with pytest.raises(StackError, match="did not end after SIGTERM"), Stack():
        pass


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failing_block_ends_both_and_notes_the_logs(binaries: Path, error: type[BaseException]) -> None:
    with pytest.raises(error) as raised, Stack():
        raise error
    notes = "\n".join(raised.value.__notes__)
    assert "log of fairlead:" in notes
    assert "exchange is about to be ready" in notes


def test_an_interrupt_while_it_starts_leaves_nothing(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> str:
        raise KeyboardInterrupt

    monkeypatch.setattr(process.Process, "_read_line", staticmethod(interrupt))
    with pytest.raises(KeyboardInterrupt), Stack():
        pytest.fail("it did not start")


def test_a_long_temporary_directory_leaves_room_for_the_socket(
    binaries: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = tmp_path / ("x" * 100)
    long.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with Stack() as stack:
        assert len(stack.address.removeprefix("unix://")) <= 107


PAGE = """
import pytest
pytest_plugins = ["fairlead.testing.plugin"]

@pytest.mark.asyncio
async def test_good(fairlead_gateway, fairlead_exchange):
    assert await fairlead_gateway.sessions() == []
    assert fairlead_exchange.fault("drop") == [1, 2]

def test_bad(fairlead_stack):
    assert fairlead_stack.address == "elsewhere"
"""


def run(code: str, place: Path, *arguments: str) -> str:
    """Run Python here; return what it prints."""
    environment = os.environ | {"PYTHONPATH": str(fake_binaries.HERE / "src")}
    ran = subprocess.run(  # noqa: S603
        [sys.executable, *arguments, code],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ran.stdout + ran.stderr


def test_the_plugin_gives_fixtures_and_shows_logs(binaries: Path) -> None:
    with TemporaryDirectory() as place:
        (Path(place) / "test_it.py").write_text(PAGE)
        said = run("test_it.py", Path(place), "-m", "pytest", "-p", "no:cacheprovider", "-o", "asyncio_mode=strict")
    assert "1 failed, 1 passed" in said, said
    assert "log of fairlead" in said
    assert "exchange is about to be ready" in said


def test_a_missing_binary_is_an_error_that_says_what_to_do(binaries: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_EXCHANGE", str(binaries / "none"))
    with TemporaryDirectory() as place:
        (Path(place) / "test_it.py").write_text(PAGE)
        said = run("test_it.py", Path(place), "-m", "pytest", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto")
    assert "2 errors" in said, said
    assert "skipped" not in said
    assert f"FAIRLEAD_EXCHANGE={binaries / 'none'}: there is no executable file" in said


def test_only_the_plugin_imports_pytest(tmp_path: Path) -> None:
    code = "import sys, fairlead, fairlead.testing; print([m for m in sys.modules if 'pytest' in m])"
    assert run(code, tmp_path, "-c").strip() == "[]"
