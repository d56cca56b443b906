"""`make lint`: every check, one line each with verdict and time, below its complaints. Non-zero exit if one failed."""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests.lint import counterparts, layers, names, places  # noqa: E402
from tests.lint.sources import select  # noqa: E402
from tests.lint.tidy import Tidy  # noqa: E402

Check = Callable[[Path], list[str]]
# Lines of a check that are worth reading at once.
SHOWN = 200
TOOLS = Path(sys.executable).parent


def command(root: Path, *arguments: str | Path) -> list[str]:
    """Runs a tool that says what it dislikes and exits non-zero."""
    environment = os.environ | {"PATH": f"{TOOLS}:{os.environ['PATH']}"}
    run = subprocess.run([str(part) for part in arguments], cwd=root, capture_output=True, text=True, env=environment)
    if run.returncode == 0:
        return []
    return (run.stdout + run.stderr).strip().splitlines() or [f"{arguments[0]} exited with {run.returncode}"]


def clang_format(root: Path) -> list[str]:
    files = select(root, "server", ".h", ".cc") + select(root, "tests", ".h", ".cc")
    if not files:
        return []
    said = command(root, "clang-format-19", "--dry-run", "-Werror", "--ferror-limit=1", *files)
    places = sorted({line.split(": error: ")[0] for line in said if ": error: " in line})
    return [f"{place}: not as clang-format has it; `make format` mends it" for place in places] or said


def clang_tidy(root: Path) -> list[str]:
    cache = Path(os.environ.get("CLANG_TIDY_CACHE") or root / "build/tidy-cache")
    return Tidy(root, root / "build/release", cache, lambda line: print(line, flush=True)).complaints()


def ruff(root: Path) -> list[str]:
    return command(root, "ruff", "check", "--quiet", ".") + command(root, "ruff", "format", "--check", ".")


def mypy(root: Path) -> list[str]:
    """Two runs, because the client is checked as a package of its own, with its own configuration."""
    found = []
    client = root / "clients/python"
    if (client / "pyproject.toml").exists():
        parts = [part for part in ("src", "tests") if any((client / part).rglob("*.py"))]
        parts += [part.name for part in client.glob("generate.py")]
        found += command(client, "mypy", "--strict", *parts)
    if select(root, "tests", ".py"):
        found += command(root, "mypy", "--strict", "--config-file", "tests/pyproject.toml", "tests")
    return found


def buf(root: Path) -> list[str]:
    return command(root, "buf", "lint", "proto") + _breaking(root)


def _breaking(root: Path) -> list[str]:
    """Compares with main, once it has the protos."""
    for branch in ("origin/main", "main"):
        archive = subprocess.run(["git", "archive", branch, "proto"], cwd=root, capture_output=True)
        if archive.returncode == 0:
            with tempfile.TemporaryDirectory() as landed:
                subprocess.run(["tar", "-x", "-C", landed], input=archive.stdout, check=True)
                return command(root, "buf", "breaking", "proto", "--against", f"{landed}/proto")
    return []


def shell(root: Path) -> list[str]:
    """bash itself is the parser: a script that runs rarely should not fail for a missing quote when it does."""
    scripts = [path for folder in ("tests/setup", "deploy/image", ".ci") for path in select(root, folder, "")]
    return [complaint for script in scripts for complaint in command(root, "bash", "-n", script)]


# The quick ones first: what a developer most often gets wrong is then told within a second.
CHECKS: dict[str, Check] = {
    "layers": layers.complaints,
    "names": names.complaints,
    "places": places.complaints,
    "shell": shell,
    "clang-format": clang_format,
    "ruff": ruff,
    "buf": buf,
    "mypy": mypy,
    "clang-tidy": clang_tidy,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checks", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; none: all")
    chosen = parser.parse_args().checks or list(CHECKS)
    if unknown := set(chosen) - set(CHECKS):
        parser.error(f"no such check: {', '.join(sorted(unknown))}")

    failed = []
    for name in chosen:
        started = time.monotonic()
        complaints = CHECKS[name](ROOT)
        for complaint in complaints[:SHOWN]:
            print(re.sub(r"^", "    ", complaint, flags=re.MULTILINE))
        if len(complaints) > SHOWN:
            print(f"    ... and {len(complaints) - SHOWN} lines more")
        verdict = "FAILED" if complaints else "ok"
        print(f"{verdict:<7} {name:<13} {time.monotonic() - started:6.1f} s", flush=True)
        if complaints:
            failed.append(name)

    missing = counterparts.without_test(ROOT)
    if missing:
        print(f"for information: {len(missing)} files of server/ have no test of their name: {' '.join(missing)}")
    print(f"lint: {', '.join(failed)} failed" if failed else f"lint: {len(chosen)} checks passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
