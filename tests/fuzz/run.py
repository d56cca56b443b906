"""`make fuzz`: runs each fuzz target for a while, two side by side, and prints a line when one begins and ends.

New finds are kept in build/fuzz-corpus/NAME, where the next run begins; what ended a target lies beside as
NAME-crash-..., to be mended and then kept in tests/fuzz/corpus/NAME. Non-zero exit if a target failed.
"""

import argparse
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = ROOT / "tests/fuzz"
BINARIES = ROOT / "build/fuzz"
KEPT = ROOT / "build/fuzz-corpus"
SIDE_BY_SIDE = 2
# Of one input: what takes longer, or more memory, is a find as well.
INPUT_SECONDS = 10
MEMORY_MIB = 1024
# Lines of a failed target's log that tell what happened.
SHOWN = 40


def names() -> list[str]:
    """Lists the targets: those with a corpus."""
    return sorted(path.name for path in (SOURCES / "corpus").iterdir() if path.is_dir())


def fuzz(name: str, seconds: int) -> bool:
    """Runs one target. Whether it found nothing wrong."""
    kept = KEPT / name
    kept.mkdir(parents=True, exist_ok=True)
    before = set(kept.iterdir())
    log = KEPT / f"{name}.log"
    arguments = [
        str(BINARIES / f"fuzz_{name}"),
        f"-max_total_time={seconds}",
        f"-timeout={INPUT_SECONDS}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-artifact_prefix={KEPT / name}-",
        "-print_final_stats=1",
    ]
    dictionary = SOURCES / f"{name}.dict"
    if dictionary.exists():
        arguments.append(f"-dict={dictionary}")
    print(f"    fuzz {name}: {seconds} s", flush=True)
    with log.open("wb") as output:
        run = subprocess.run(
            [*arguments, str(kept), str(SOURCES / "corpus" / name)], stdout=output, stderr=output, cwd=ROOT
        )
    text = log.read_text(errors="replace")
    runs = re.search(r"number_of_executed_units:\s*(\d+)", text)
    finds = len(set(kept.iterdir()) - before)
    verdict = "ok" if run.returncode == 0 else "FAILED"
    print(f"    fuzz {name}: {verdict}, {runs[1] if runs else '?'} runs, {finds} new finds", flush=True)
    if run.returncode != 0:
        print("\n".join(text.splitlines()[-SHOWN:]))
        for unit in re.findall(r"Test unit written to (\S+)", text):
            print(f"    crash file: {unit}", flush=True)
    return run.returncode == 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="for each target")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(names())}; none: all")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(names()):
        parser.error(f"no such target: {', '.join(sorted(unknown))}")
    with ThreadPoolExecutor(SIDE_BY_SIDE) as pool:
        verdicts = list(pool.map(lambda name: fuzz(name, options.seconds), options.targets or names()))
    return 0 if all(verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
