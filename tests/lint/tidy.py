"""clang-tidy over server/, with its verdicts kept.

A unit that was clean stays clean while nothing changes that it is made of: its text and that of every project header
below it, the protos, its compile command, .clang-tidy and clang-tidy itself. The name of a verdict is the hash of
these, so a verdict is never stale, and one directory serves any number of checkouts (CLANG_TIDY_CACHE names it;
default: build/tidy-cache).
"""

import hashlib
import json
import os
import re
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TIDY = "clang-tidy-19"
INCLUDE = re.compile(r'^\s*#\s*include\s*"([^"]+)"', re.MULTILINE)


class Tidy:
    """One run over the units of a compilation database. Units of the same database are checked in parallel."""

    def __init__(self, root: Path, build: Path, cache: Path, report: Callable[[str], None] = print) -> None:
        self.root = root
        self.build = build
        self.cache = cache
        self.report = report
        common = hashlib.sha256()
        common.update(subprocess.run([TIDY, "--version"], check=True, capture_output=True).stdout)
        common.update((root / ".clang-tidy").read_bytes())
        for proto in sorted((root / "proto").rglob("*.proto")):
            common.update(proto.read_bytes())
        self.common = common.digest()

    def complaints(self, folder: str = "server") -> list[str]:
        database = json.loads((self.build / "compile_commands.json").read_text())
        units = [entry for entry in database if Path(entry["file"]).is_relative_to(self.root / folder)]
        verdicts = [(Path(unit["file"]), self.cache / self.key(unit)) for unit in units]
        waiting = [(source, verdict) for source, verdict in verdicts if not verdict.exists()]
        self.report(f"    clang-tidy: {len(units)} files, {len(waiting)} of them not known to be clean")
        self.cache.mkdir(parents=True, exist_ok=True)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            results = pool.map(lambda unit: self.check(*unit), waiting)
            return [complaint for complaints in results for complaint in complaints]

    def key(self, unit: dict[str, str]) -> str:
        digest = hashlib.sha256(self.common)
        digest.update(unit["command"].replace(str(self.root), "").encode())
        for path in sorted(self.made_of(Path(unit["file"]))):
            digest.update(str(path.relative_to(self.root)).encode() + b"\0" + path.read_bytes())
        return digest.hexdigest()

    def made_of(self, source: Path) -> set[Path]:
        """The file and, transitively, the project's own files that it includes."""
        found: set[Path] = set()
        folders = (self.root / "server", self.root / "tests")
        waiting = [source]
        while waiting:
            path = waiting.pop()
            if path in found or not path.is_file():
                continue
            found.add(path)
            names = INCLUDE.findall(path.read_text())
            waiting += [folder / name for name in names for folder in (*folders, path.parent)]
        return found

    def check(self, source: Path, verdict: Path) -> list[str]:
        started = time.monotonic()
        run = subprocess.run(
            [TIDY, "--quiet", "-p", str(self.build), str(source)], cwd=self.root, capture_output=True, text=True
        )
        name = source.relative_to(self.root)
        word = "ok" if run.returncode == 0 else "FAILED"
        self.report(f"    clang-tidy: {name} {word} {time.monotonic() - started:.1f} s")
        if run.returncode == 0:
            verdict.touch()
            return []
        # Standard error has the real message when the file cannot be parsed, else only counts of suppressed warnings.
        return [(run.stdout or run.stderr).strip()]
