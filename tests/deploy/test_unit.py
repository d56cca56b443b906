"""deploy/systemd: systemd itself reads the unit; that its filter suffices is test_contained.py's.

There is no systemd here that could run it: a test of the installed service is not among these.
"""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.unit import UNIT, Filter, directives
from tests.e2e.processes import BUILD, ROOT

# `systemd-analyze security` gives 0.0 (nothing exposed) to 10.0, here in tenths. What is left of it is the network, and
# seeing the host's files.
EXPOSURE = 15


def analyze(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", "--no-pager", *arguments], capture_output=True, text=True)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with the built binary in it: systemd refuses one whose program is not there."""
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/usr/bin/fairlead", str(BUILD / "fairlead")))
    return copy


def test_systemd_understands_it(unit: Path) -> None:
    verified = analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


def test_systemd_would_tell_a_mistake(unit: Path) -> None:
    unit.write_text(unit.read_text().replace("ProtectClock", "ProtectClocks"))
    assert "Unknown key 'ProtectClocks'" in analyze("verify", "--man=no", unit).stderr


def test_exposure(unit: Path) -> None:
    judged = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", unit)
    assert judged.returncode == 0, judged.stdout
    unit.write_text(unit.read_text().replace("CapabilityBoundingSet=\n", ""))
    judged = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", unit)
    assert judged.returncode != 0, "the threshold is too high to see capabilities"


def test_the_filter_is_what_it_seems() -> None:
    calls = Filter.of_unit().calls
    assert {"execve", "accept4", "prlimit64", "mmap"} <= calls
    assert not {"mount", "ptrace", "bpf", "init_module", "setuid", "chown", "reboot"} & calls


def test_its_directories_are_those_of_the_configuration() -> None:
    said = directives()
    config = yaml.safe_load((ROOT / "deploy/fairlead.yaml").read_text())
    assert config["listeners"][0]["unix"]["path"].startswith(f"/run/{said['RuntimeDirectory'][0]}/")
    journals = [
        line for line in (ROOT / "deploy/fairlead.yaml").read_text().splitlines() if "journal_directory:" in line
    ]
    assert f"/var/lib/{said['StateDirectory'][0]}/" in journals[0]


def test_its_user_is_made(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    made = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", UNIT.with_name("fairlead.sysusers")], capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    names = {line.split(":")[0] for line in (tmp_path / "etc/passwd").read_text().splitlines()}
    groups = {line.split(":")[0] for line in (tmp_path / "etc/group").read_text().splitlines()}
    said = directives()
    assert (said["User"][0], said["Group"][0]) == ("fairlead", "fairlead")
    assert "fairlead" in names & groups


def test_it_stops_later_than_the_gateway() -> None:
    """The default of shutdown_timeout, as the page of the configuration has it."""
    row = next(
        line for line in (ROOT / "docs/configuration.md").read_text().splitlines() if "`shutdown_timeout`" in line
    )
    default = int(row.split("|")[2].strip(" `s"))
    assert int(directives()["TimeoutStopSec"][0]) > 2 * default
