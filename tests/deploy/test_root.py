"""deploy/image/root: what is in the image, and what is not."""

import os
import stat
import subprocess
from pathlib import Path

from tests.e2e.processes import BUILD, ROOT

SCRIPT = ROOT / "deploy/image/root"


def files(root: Path) -> list[Path]:
    return [path for path in sorted(root.rglob("*")) if path.is_file() and not path.is_symlink()]


def test_the_only_program_is_fairlead(root: Path) -> None:
    assert [path.name for path in (root / "usr/bin").iterdir()] == ["fairlead"]
    executable = {path for path in files(root) if path.stat().st_mode & 0o111}
    others = executable - {root / "usr/bin/fairlead"}
    assert others, "libraries are executable"
    assert all(".so" in path.name for path in others), others
    assert not any(path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID) for path in files(root))


def test_links_stay_inside(root: Path) -> None:
    links = [path for path in root.rglob("*") if path.is_symlink()]
    assert links
    for link in links:
        target = os.readlink(link)
        # An absolute one begins at the image's root.
        inside = root / target.lstrip("/") if target.startswith("/") else link.parent / target
        assert inside.exists(), link
        assert inside.resolve().is_relative_to(root.resolve()), link


def test_nothing_can_be_written_but_the_volumes(root: Path) -> None:
    writable = {
        str(path.relative_to(root)) for path in root.rglob("*") if not path.is_symlink() and path.stat().st_mode & 0o022
    }
    assert writable == {"tmp"}
    if os.getuid() == 0:
        of_user = {str(path.relative_to(root)) for path in root.rglob("*") if path.lstat().st_uid != 0}
        assert of_user == {"run/fairlead", "var/lib/fairlead"}


def test_authorities_of_the_system_are_there(root: Path) -> None:
    bundle = (root / "etc/ssl/certs/ca-certificates.crt").read_text()
    assert bundle.count("BEGIN CERTIFICATE") > 50
    assert os.readlink(root / "usr/lib/ssl/cert.pem") == "/etc/ssl/certs/ca-certificates.crt"


def test_every_package_has_its_licence(root: Path) -> None:
    licences = {path.parent.name for path in (root / "usr/share/doc").glob("*/copyright")}
    packages = {path.name for path in (root / "var/lib/dpkg/status.d").iterdir()}
    assert licences == packages | {"fairlead"}
    assert {"libc6", "libssl3", "libstdc++6", "libgrpc++1.51", "ca-certificates"} <= packages
    for path in (root / "var/lib/dpkg/status.d").iterdir():
        assert "\nVersion: " in path.read_text(), path
    assert "Apache License" in (root / "usr/share/doc/fairlead/copyright").read_text()
    # What these texts refer to is beside them.
    assert (root / "usr/share/common-licenses/GPL-3").exists()


def refusal(*arguments: str | Path) -> str:
    run = subprocess.run([SCRIPT, *arguments], capture_output=True, text=True)
    assert run.returncode != 0
    return run.stderr


def test_what_it_refuses(tmp_path: Path) -> None:
    assert "usage" in refusal()
    assert "not there" in refusal(tmp_path / "none", tmp_path / "made")
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    assert "not empty" in refusal(BUILD / "fairlead", tmp_path / "full")
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    assert "not a program" in refusal(script, tmp_path / "made")
