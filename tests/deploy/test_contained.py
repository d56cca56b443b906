"""The image's files as a container has them: user 65532, read-only root directory, no shell, process 1.

In the system call filter of the systemd unit, too: what kills in it here is what that unit would refuse.
"""

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

import fairlead
from tests.demo.demo import Stage, first_act, second_act
from tests.deploy.conftest import AS_ROOT, USER, Box
from tests.deploy.unit import Filter
from tests.e2e.processes import PATIENCE_S, RECORDINGS, ROOT, Exchange, eventually

SOCKET = "/run/fairlead/fairlead.sock"
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def config(**fields: Any) -> str:
    """The shipped configuration, with these fields in place of its own."""
    return yaml.safe_dump(yaml.safe_load((ROOT / "deploy/fairlead.yaml").read_text()) | fields)


@pytest.fixture
def filtered(scratch: Path) -> list[str]:
    """The unit's system call filter."""
    file = scratch / "filter.json"
    file.write_text(Filter.of_unit().to_json())
    return ["--filter", str(file)]


class Running:
    """A gateway in a box; `pid` is the gateway's own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        assert process.stdout is not None
        self._process = process
        self._log = log
        readable, _, _ = select.select([process.stdout], [], [], PATIENCE_S)
        self.ready_line = process.stdout.readline().decode() if readable else ""
        assert self.ready_line.startswith("fairlead ready "), f"{self.ready_line}\n{self.log}"
        self.pid = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    @property
    def ended(self) -> int | None:
        return self._process.poll()

    def status(self, field: str) -> list[str]:
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(line.split()[1:] for line in lines if line.startswith(f"{field}:"))

    def mounts(self) -> dict[str, str]:
        """All that it sees, as "ro" or "rw"."""
        lines = [line.split() for line in Path(f"/proc/{self.pid}/mountinfo").read_text().splitlines()]
        return {words[4]: words[5].split(",")[0] for words in lines}

    def terminate(self) -> int:
        os.kill(self.pid, signal.SIGTERM)
        return self._process.wait(PATIENCE_S)


@contextlib.contextmanager
def running(box: Box, scratch: Path, options: list[str]) -> Iterator[Running]:
    command = box.command("--config", "/etc/fairlead/fairlead.yaml", options=options)
    log = scratch / "gateway.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()  # And with it what is in the namespaces.
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


def volume(scratch: Path, name: str, mode: int) -> Path:
    """A directory of user 65532, as a volume is prepared for it."""
    made = scratch / name
    made.mkdir()
    if AS_ROOT:
        os.chown(made, USER, USER)
    made.chmod(mode)
    return made


@pytest.mark.parametrize("filtering", [False, True], ids=["plain", "filtered"])
def test_version_and_check_config(box: Box, filtered: list[str], filtering: bool) -> None:
    options = filtered if filtering else []
    version = box.run("--version", options=options)
    assert (version.returncode, version.stdout, version.stderr) == (0, "fairlead 0.1.0\n", "")
    check = box.run("--check-config", "/etc/fairlead/fairlead.yaml", options=options)
    assert (check.returncode, check.stdout) == (0, "/etc/fairlead/fairlead.yaml: no errors\n"), check.stderr


def test_a_wrong_configuration_is_told(box: Box, scratch: Path) -> None:
    (scratch / "fairlead.yaml").write_text(config(lissteners=[]))
    check = box.run("--check-config", "/etc/fairlead/fairlead.yaml", options=["--mount", f"{scratch}:/etc/fairlead"])
    assert check.returncode == 2
    assert 'did you mean "listeners"' in check.stderr


def test_the_filter_kills(box: Box, scratch: Path) -> None:
    """Else the demo would prove nothing of it."""
    whole = Filter.of_unit()
    wanting = {
        "without Unix sockets": Filter(whole.calls, whole.families - {socket.AF_UNIX}),
        "without listen": Filter(whole.calls - {"listen"}, whole.families),
    }
    for what, allowed in wanting.items():
        file = scratch / "wanting.json"
        file.write_text(allowed.to_json())
        run = box.run(
            "--config", "/etc/fairlead/fairlead.yaml", options=["--tmpfs", "/run/fairlead", "--filter", str(file)]
        )
        assert run.returncode == -signal.SIGSYS, what


def test_as_it_is_shipped(box: Box, scratch: Path) -> None:
    """The image's own configuration, and nothing mounted but a tmpfs for the socket."""
    with running(box, scratch, ["--tmpfs", "/run/fairlead"]) as gateway:
        assert gateway.ready_line == f"fairlead ready unix={SOCKET}\n"
        assert gateway.terminate() == 0, gateway.log


def test_the_root_cannot_be_written(box: Box, scratch: Path) -> None:
    """Without a mount for the socket it does not start, and says why."""
    run = box.run("--config", "/etc/fairlead/fairlead.yaml")
    assert run.returncode == 1
    assert f"{SOCKET}: Read-only file system" in run.stderr


async def test_the_demo(box: Box, exchange: Exchange, scratch: Path, filtered: list[str]) -> None:
    """Both acts, by an adapter outside, over a socket on a volume, with journals on another."""
    etc = scratch / "etc"
    etc.mkdir()
    port = exchange.wss.rsplit(":", 1)[1]
    rule = {"name": "exchange", "schemes": ["wss"], "hosts": ["localhost"], "cidrs": ["127.0.0.0/8", "::1/128"]}
    etc.joinpath("fairlead.yaml").write_text(
        config(egress={"rules": [rule]}, journal_directory={"path": "/var/lib/fairlead/journals"})
    )
    run, state = volume(scratch, "run", 0o750), volume(scratch, "state", 0o700)
    mounts = [f"{etc}:/etc/fairlead", f"{run}:/run/fairlead:rw", f"{state}:/var/lib/fairlead:rw"]
    # The exchange's authority in the place of the system's: found by OpenSSL, not named by the configuration.
    mounts.append(f"{exchange.ca}:{AUTHORITIES}")
    options = [word for mount in mounts for word in ("--mount", mount)] + filtered
    with running(box, scratch, options) as gateway:
        assert gateway.status("Uid") == [str(USER if AS_ROOT else os.getuid())] * 4
        assert gateway.status("NSpid")[-1] == "1"
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb", "CapBnd"):
            assert int(gateway.status(capabilities)[0], 16) == 0, capabilities
        assert gateway.status("NoNewPrivs") == ["1"]
        assert gateway.status("Seccomp") == ["2"]
        assert gateway.mounts() == {
            "/": "ro",
            "/etc/fairlead": "ro",
            AUTHORITIES: "ro",
            "/run/fairlead": "rw",
            "/var/lib/fairlead": "rw",
        }

        listener = run / "fairlead.sock"
        assert listener.stat().st_mode & 0o777 == 0o660
        try:
            async with fairlead.connect(f"unix://{listener}") as client:
                stage = Stage(client, f"localhost:{port}", exchange.control.removeprefix("http://"), RECORDINGS)
                await first_act(stage)
                await second_act(stage)
        except BaseException:
            sys.stderr.write(f"gateway: {gateway.ended}\n{gateway.log}")
            raise
        assert list((state / "journals").rglob("*")), "the journals are on the volume"
        assert gateway.terminate() == 0, gateway.log
        assert not listener.exists()


async def test_it_ends_with_sessions_open(box: Box, exchange: Exchange, scratch: Path) -> None:
    """SIGTERM to process 1, which has no default for it, with an adapter attached; over loopback TCP."""
    etc = scratch / "etc"
    etc.mkdir()
    rule = {"name": "exchange", "schemes": ["ws"], "hosts": ["127.0.0.1"], "cidrs": ["127.0.0.0/8"]}
    listeners = [{"identity": "adapters", "tcp": {"host": "127.0.0.1"}}]
    etc.joinpath("fairlead.yaml").write_text(config(listeners=listeners, egress={"rules": [rule]}))
    with running(box, scratch, ["--mount", f"{etc}:/etc/fairlead"]) as gateway:
        address = gateway.ready_line.split("grpc=")[1].strip()
        async with (
            fairlead.connect(address) as client,
            client.websocket(f"{exchange.ws}/synthetic?rate=100", name="md") as session,
        ):
            async for _ in session:
                break
            os.kill(gateway.pid, signal.SIGTERM)
            await eventually(lambda: gateway.ended is not None, "the gateway ends")
            assert gateway.ended == 0, gateway.log
