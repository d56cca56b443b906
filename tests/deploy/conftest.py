"""The image's root directory, made once, and how a program is run in it."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.e2e.processes import BUILD, PATIENCE_S, ROOT, Exchange

USER = 65532
# Without root: a user namespace in which the caller is that user.
AS_ROOT = os.getuid() == 0
UNSHARE = ["unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"]
UNSHARE += [] if AS_ROOT else ["--user", f"--map-user={USER}", f"--map-group={USER}", "--keep-caps"]


class Box:
    """Where programs run as a container runtime runs them, with the image's root directory; see contain.py."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def command(self, *arguments: str | Path, options: list[str] | None = None) -> list[str]:
        """A command line that runs /usr/bin/fairlead with these arguments."""
        contain = [sys.executable, "-IS", str(Path(__file__).with_name("contain.py"))]
        inside = ["--", "/usr/bin/fairlead", *map(str, arguments)]
        return [*UNSHARE, *contain, "--root", str(self.root), *(options or []), *inside]

    def run(self, *arguments: str | Path, options: list[str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*arguments, options=options), capture_output=True, text=True, timeout=PATIENCE_S
        )


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A directory that user 65532 can enter, with a name short enough for a socket's path."""
    with TemporaryDirectory(prefix="fl-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def exchange(scratch: Path) -> Iterator[Exchange]:
    """A simulated exchange of this test's own."""
    exchange = Exchange(scratch)
    exchange.start()
    yield exchange
    exchange.stop()


@pytest.fixture(scope="session")
def root() -> Iterator[Path]:
    """What deploy/image/root makes of the built binary; or FAIRLEAD_IMAGE_ROOT: a built image, unpacked."""
    if given := os.environ.get("FAIRLEAD_IMAGE_ROOT"):
        yield Path(given)
        return
    binary = BUILD / "fairlead"
    if not binary.exists():
        raise pytest.UsageError(f"{binary} is not built: run `make build`")
    with TemporaryDirectory(prefix="fl-") as name:
        Path(name).chmod(0o755)
        made = Path(name) / "image"
        subprocess.run([ROOT / "deploy/image/root", binary, made], check=True)
        yield made


@pytest.fixture(scope="session")
def box(root: Path) -> Box:
    """Skips where this machine gives us no namespaces."""
    probe = subprocess.run([*UNSHARE, "true"], capture_output=True, text=True)
    if probe.returncode != 0:
        pytest.skip(f"no mount and process namespaces here: {probe.stderr.strip()}")
    return Box(root)
