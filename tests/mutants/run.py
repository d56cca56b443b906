"""`make mutants`: builds the simulation with each mutant of mutants.toml and runs it, in a copy of the tree.

A mutant is killed when the simulation fails. Non-zero exit if one survives, does not apply or does not compile.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MUTANTS = Path(__file__).with_name("mutants.toml")
# A mutant may hang: what has found nothing wrong for so long counts as killed.
RUN_SECONDS = 300


@dataclass(frozen=True)
class Mutant:
    name: str
    file: str
    old: str
    new: str
    breaks: str

    def apply(self, text: str) -> str:
        """The file's text with the mutation in it.

        Raises:
            ValueError: what is to be mutated is not there, or more than once.
        """
        if (count := text.count(self.old)) != 1:
            raise ValueError(f"{self.file} holds it {count} times: {self.old.strip()}")
        return text.replace(self.old, self.new)


def read_mutants(path: Path = MUTANTS) -> list[Mutant]:
    return [Mutant(**each) for each in tomllib.loads(path.read_text())["mutant"]]


class Copy:
    """A copy of the tree with a build of its own, so that nobody finds a mutant in his sources."""

    def __init__(self, root: Path, place: Path) -> None:
        self.root = root
        self.tree = place / "tree"
        self.binaries = place / "build"
        self._environment = os.environ | {"CCACHE_BASEDIR": str(place), "CCACHE_NOHASHDIR": "1"}

    def refresh(self) -> None:
        """Copies what has changed, and only that: what has not is not built again."""
        listed = subprocess.run(
            ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            cwd=self.root,
            capture_output=True,
            check=True,
        )
        names = [name for name in listed.stdout.decode().split("\0") if name and (self.root / name).is_file()]
        for path in [path for path in self.tree.rglob("*") if path.is_file()]:
            if str(path.relative_to(self.tree)) not in names:
                path.unlink()
        for name in names:
            content = (self.root / name).read_bytes()
            target = self.tree / name
            if target.exists() and target.read_bytes() == content:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.root / name, target)

    def configure(self) -> None:
        command = ["cmake", "-S", str(self.tree), "-B", str(self.binaries), "-G", "Ninja"]
        command += ["-DCMAKE_C_COMPILER=clang-19", "-DCMAKE_CXX_COMPILER=clang++-19"]
        command += ["-DCMAKE_BUILD_TYPE=Release", "-DCMAKE_CXX_FLAGS_RELEASE=-O1"]
        self._must(command)

    def build(self, jobs: int) -> str:
        """Builds the simulation. The compiler's complaint; empty: none."""
        run = self._run(["ninja", "-C", str(self.binaries), f"-j{jobs}", "simulation"])
        return "" if run.returncode == 0 else run.stdout

    def simulate(self) -> str:
        """Runs the simulation until a seed fails. What is wrong; empty: nothing."""
        command = [str(self.binaries / "simulation"), "--gtest_filter=*Promises*"]
        try:
            run = self._run(command, RUN_SECONDS)
        except subprocess.TimeoutExpired:
            return f"it hangs: {RUN_SECONDS} s"
        if run.returncode == 0:
            return ""
        if found := re.search(r"FAIRLEAD_SEED=(\d+): ?(.*)", run.stdout):
            said = found[2] or re.search(r"Failure\n(?:Failed\n)?(.*)", run.stdout)
            return f"seed {found[1]}: {said if isinstance(said, str) else said[1] if said else ''}"
        if run.returncode < 0:
            return f"crashed, signal {-run.returncode}"
        return "the table: " + ", ".join(re.findall(r"Failed\n(.*)", run.stdout))

    def _run(self, command: list[str], seconds: float | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
            timeout=seconds,
        )

    def _must(self, command: list[str]) -> None:
        run = self._run(command)
        if run.returncode != 0:
            sys.exit(f"{' '.join(command)}:\n{run.stdout}")


def judge(copy: Copy, mutant: Mutant, jobs: int) -> tuple[bool, str]:
    """Whether the mutant is killed, and by what."""
    target = copy.tree / mutant.file
    original = target.read_text()
    try:
        target.write_text(mutant.apply(original))
        if complaint := copy.build(jobs):
            return False, "DOES NOT COMPILE: " + (re.findall(r"error: .*", complaint) or [complaint[-500:]])[0]
        found = copy.simulate()
    except ValueError as error:
        return False, f"DOES NOT APPLY: {error}"
    finally:
        target.write_text(original)
    return (True, found) if found else (False, f"SURVIVES: {mutant.breaks}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("words", nargs="*", metavar="WORD", help="only mutants with one of these in name or file")
    options = parser.parse_args()
    mutants = read_mutants()
    chosen = [each for each in mutants if any(word in each.name + each.file for word in options.words or [""])]

    copy = Copy(ROOT, ROOT / "build/mutants")
    copy.refresh()
    copy.configure()
    if complaint := copy.build(options.jobs):
        sys.exit(f"the unchanged tree does not compile:\n{complaint}")
    if found := copy.simulate():
        sys.exit(f"the simulation fails without any mutant: {found}")

    spared = 0
    for mutant in chosen:
        began = time.monotonic()
        killed, by = judge(copy, mutant, options.jobs)
        spared += not killed
        spent = time.monotonic() - began
        file = mutant.file.removeprefix("server/")
        verdict = "killed" if killed else "ALIVE"
        print(f"{verdict:<7} {file:<32} {mutant.name:<48} {spent:5.1f} s  {by}", flush=True)
    print(f"mutants: {len(chosen) - spared} of {len(chosen)} killed")
    return 1 if spared or not chosen else 0


if __name__ == "__main__":
    sys.exit(main())
