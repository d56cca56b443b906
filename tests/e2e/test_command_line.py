"""What the binary says: usage, version, the ready line, and every error of a configuration file at once."""

import re
import tomllib
from pathlib import Path

import pytest

from tests.e2e.conftest import StartGateway
from tests.e2e.processes import ROOT, Gateway, run


def test_version() -> None:
    done = run("fairlead", "--version")
    client = tomllib.loads((ROOT / "clients/python/pyproject.toml").read_text())
    assert done.returncode == 0
    assert re.fullmatch(r"fairlead \d+\.\d+\.\d+\n", done.stdout)
    assert client["project"].get("version", done.stdout.split()[1]) == done.stdout.split()[1]
    assert done.stderr == ""


def test_help() -> None:
    done = run("fairlead", "--help")
    assert done.returncode == 0
    for word in ("--config FILE", "--check-config FILE", "--version", "--help", "SIGTERM", "docs/configuration.md"):
        assert word in done.stdout
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "--config FILE is missing"),
        (["--nonsense"], "unknown argument --nonsense"),
        (["--config"], "--config takes a FILE"),
        (["--config", "--check-config"], "--config takes a FILE"),
        (["--check-config"], "--config FILE is missing"),
        (["--check-config", "a", "b"], "unknown argument b"),
        (["--config", "/no/such/file.yaml"], "/no/such/file.yaml: cannot be read"),
    ],
)
def test_wrong_usage(arguments: list[str], complaint: str) -> None:
    done = run("fairlead", *arguments)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert done.stdout == ""


def test_development_configuration() -> None:
    file = str(ROOT / "deploy/development.yaml")
    for arguments in (
        ["--check-config", file],
        ["--check-config", "--config", file],
        ["--config", file, "--check-config"],
    ):
        done = run("fairlead", *arguments)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"{file}: no errors\n", "")


WRONG = """\
listeners:
  - identity: "not a name"
    unix: {path: relative.sock, mode: "9999"}
  - identity: tests
    tcp: {host: 0.0.0.0, port: 70000}
egress:
  rules:
    - {name: a, schemes: [ftp], hosts: ["*"]}
    - {name: a, hosts: [], cidrs: [nowhere]}
tls: {ca_files: [/no/such/ca.pem]}
limits: {sessions: 0, journal_bytes: sixteen, no_such_limit: 1}
flush: {batch_frames: -1}
log: {level: loud}
reflection: perhaps
channelz: 1
shutdown_timeout: 5
nonsense: true
"""


def test_check_config_tells_all_errors_at_once(scratch: Path) -> None:
    file = scratch / "wrong.yaml"
    file.write_text(WRONG)
    done = run("fairlead", "--check-config", file)
    assert done.returncode == 2
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    # Every line names the file and the field.
    assert all(line.startswith(f"{file}:") for line in lines), done.stderr
    for field in (
        "limits.journal_bytes",
        "limits.no_such_limit",
        "flush.batch_frames",
        "log.level",
        "reflection",
        "channelz",
        "shutdown_timeout",
        "nonsense",
    ):
        assert any(f"{field}:" in line or f"{field} " in line for line in lines), f"{field} is missing\n{done.stderr}"
    # Run as a gateway it says the same, and does not start.
    started = run("fairlead", "--config", file)
    assert (started.returncode, started.stdout, started.stderr) == (2, "", done.stderr)


def test_check_config_tells_all_wrong_values_at_once(scratch: Path) -> None:
    file = scratch / "values.yaml"
    file.write_text(
        WRONG.split("limits:")[0]
        + "limits: {sessions: 0, message_bytes: 1KiB, stuck_write: 0s}\nflush: {batch_bytes: 0}\n"
    )
    done = run("fairlead", "--check-config", file)
    assert done.returncode == 2
    for field in (
        "listeners[0].identity",
        "listeners[0].unix.mode",
        "listeners[1].tcp.host",
        "listeners[1].tcp.port",
        "egress.rules[0].schemes[0]",
        "egress.rules[1].name",
        "egress.rules[1].hosts",
        "egress.rules[1].cidrs[0]",
        "tls.ca_files[0]",
        "limits.sessions",
        "limits.message_bytes",
        "limits.stuck_write",
        "flush.batch_bytes",
    ):
        assert f"{field}:" in done.stderr, f"{field} is missing\n{done.stderr}"


def test_check_config_of_what_is_no_yaml(scratch: Path) -> None:
    file = scratch / "broken.yaml"
    file.write_text("listeners: [")
    done = run("fairlead", "--check-config", file)
    assert done.returncode == 2
    assert done.stderr.startswith(f"{file}:")


# ---- The ready line. ----


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["unix", "tcp"], r"grpc=127\.0\.0\.1:\d+ unix=/.*"),
        (["unix"], r"unix=/.*"),
        (["tcp"], r"grpc=127\.0\.0\.1:\d+"),
        (["tcp6"], r"grpc=\[::1\]:\d+"),
    ],
)
def test_ready_line(start_gateway: StartGateway, kinds: list[str], expected: str) -> None:
    gateway = start_gateway(start=False)
    addresses = {
        "unix": {"unix": {"path": str(gateway.unix)}},
        "tcp": {"tcp": {"host": "127.0.0.1"}},
        "tcp6": {"tcp": {"host": "::1"}},
    }
    gateway.config["listeners"] = [{"identity": "tests", **addresses[kind]} for kind in kinds]
    gateway.start()
    assert re.fullmatch(f"fairlead ready {expected}\n", gateway.ready_line)


async def test_standard_output_has_the_ready_line_alone(gateway: Gateway) -> None:
    assert await gateway.terminate() == 0
    assert gateway.rest_of_output() == ""
    # The log is elsewhere, one line an event: time, level, name, fields.
    for line in gateway.log.splitlines():
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\S+Z (DEBUG|INFO|WARN|ERROR) [a-z.]+( \w+=.*)*", line), line
