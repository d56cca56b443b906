"""Fairlead beside its peers: `make bench` writes docs/performance.md, `make bench-quick` only build/bench/quick.*.

Every round runs everything once, contenders in rotated order, so that a noisy minute touches all of them alike. Not
part of the tests: a busy machine makes the figures worse, not wrong.
"""

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path

from tests.bench.chart import draw
from tests.bench.contender import Site
from tests.bench.measure import Order
from tests.bench.page import Origin, page
from tests.bench.table import Measurement, Results, rotated
from tests.bench.works import FULL, QUICK, THROUGH_GATEWAY, Length, Work, all_works, few_works
from tests.e2e.processes import ROOT, Exchange, Gateway

OUTPUT = ROOT / "build/bench"
PAGE = ROOT / "docs/performance.md"
SESSIONS = 10_000
# Against hanging: opening all idle sessions takes longest.
PATIENCE_S = 300


def sessions_that_fit() -> int:
    """Raises the limit of open files as far as it goes, and says for how many sessions that is enough."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    fit = SESSIONS if hard == resource.RLIM_INFINITY else min(SESSIONS, max(100, (hard - 500) // 100 * 100))
    if fit < SESSIONS:
        print(f"open files are limited to {hard:,}: {fit:,} idle sessions in place of {SESSIONS:,}", flush=True)
    return fit


def measure(round_: int, work: Work, contender: str, length: Length, http_server: Sequence[str]) -> Measurement:
    """Fresh processes for each: what one has grown to does not colour the next."""
    given = work.of(contender)
    result = Measurement(round_, given.name, contender)
    with tempfile.TemporaryDirectory() as scratch:
        exchange = Exchange(Path(scratch))
        environment = {"SSL_CERT_FILE": str(exchange.ca)}
        # Room for all idle sessions on one stream, and for as many HTTP connections as others have.
        limits = {"sessions": SESSIONS, "channels_per_stream": SESSIONS}
        gateway = Gateway(Path(scratch), {"limits": limits}, environment)
        if given.kind == "http":
            gateway.config["http"] = {"connections_per_pool": max(64, given.count)}
        try:
            exchange.start()
            at = dict(word.split("=", 1) for word in exchange.ready_line.split()[2:])
            base, generator = exchange.wss if given.tls else exchange.ws, exchange.pid
            if given.kind == "http":
                if http_server:
                    base, generator = http_server[0], int(http_server[1])
                else:
                    scheme = "https" if given.tls else "http"
                    base = f"{scheme}://{at[scheme]}"
            if contender in THROUGH_GATEWAY:
                gateway.start()
            site = Site(str(exchange.ca), gateway.address)
            pid = gateway.pid if contender in THROUGH_GATEWAY else 0
            order = Order(contender, given, length, base, exchange.wss, site, generator, pid)
            return _with(result, **_alone(order, environment))
        except (AssertionError, subprocess.TimeoutExpired) as error:
            return _with(result, failed=(str(error).strip().splitlines() or ["?"])[-1])
        finally:
            gateway.stop()
            exchange.stop()


def _with(measurement: Measurement, **changes: object) -> Measurement:
    return Measurement(**asdict(measurement) | changes)


def _alone(order: Order, environment: dict[str, str]) -> dict[str, object]:
    """In a fresh Python process, so that its CPU time is its own."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.measure", order.to_json()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | environment,
        timeout=PATIENCE_S,
    )
    if done.returncode != 0:
        print(done.stderr, file=sys.stderr)
        raise AssertionError((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip(" |"))
    told = json.loads(done.stdout.splitlines()[-1])
    about, not_measured = told.pop("about"), told.pop("not_measured", "")
    return {"about": about, "not_measured": not_measured, "figures": told}


def run(works: Sequence[Work], rounds: int, length: Length, http_server: Sequence[str], file: Path) -> Results:
    total, number, started = rounds * sum(len(work.contenders) for work in works), 0, time.monotonic()
    results = Results(works, [])
    for round_ in range(1, rounds + 1):
        for work in works:
            for contender in rotated(work.contenders, round_ - 1):
                number += 1
                minutes, seconds = divmod(int(time.monotonic() - started), 60)
                head = f"round {round_} of {rounds}, {number}/{total}, {minutes}:{seconds:02}"
                print(f"{head}: {work.of(contender).name}: {contender}", flush=True)
                one = measure(round_, work, contender, length, http_server)
                results.measurements.append(one)
                if one.failed or one.not_measured:
                    print(
                        f"    {f'FAILED: {one.failed}' if one.failed else f'not measured: {one.not_measured}'}",
                        flush=True,
                    )
        # After each round, so that an interrupted run is not lost.
        file.write_text(json.dumps([asdict(one) for one in results.measurements], indent=1) + "\n")
    return results


def _git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()


def origin(command: str, rounds: int, length: Length) -> Origin:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    processor = models[0].split(":")[1].strip() if models else platform.machine()
    changed = (
        " with changes"
        if _git("status", "--porcelain", "--", "server", "clients", "tests/exchange", "tests/bench")
        else ""
    )
    linux = platform.release().split("-")[0].rsplit(".", 1)[0]
    return Origin(
        command=command,
        commit=_git("rev-parse", "--short", "HEAD") + changed,
        machine=f"{os.cpu_count()} cores of {processor}",
        versions=f"Linux {linux}, Python {platform.python_version()}, uvloop {version('uvloop')}",
        rounds=rounds,
        length=length,
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round of a few works; writes no page")
    parser.add_argument("--rounds", type=int, help="5, or 1 if quick")
    parser.add_argument("--only", default="", help="works whose name has this text; writes no page")
    parser.add_argument("--http-server", nargs=2, metavar=("URL", "PID"), default=(), help="in place of the exchange")
    arguments = parser.parse_args()
    quick, partial = arguments.quick, arguments.quick or arguments.only or arguments.http_server
    rounds, length = arguments.rounds or (1 if quick else 5), QUICK if quick else FULL
    works = few_works() if quick else all_works(sessions_that_fit())
    works = [work for work in works if arguments.only in work.name]
    if not works:
        parser.error(f"no work has {arguments.only!r} in its name")

    OUTPUT.mkdir(parents=True, exist_ok=True)
    stem = OUTPUT / ("quick" if quick else "partial" if partial else "bench")
    # As `make` calls it, or by hand.
    command = {("--quick",): "make bench-quick", (): "make bench"}.get(
        tuple(sys.argv[1:]), " ".join(["python -m tests.bench.run", *sys.argv[1:]])
    )
    where = origin(command, rounds, length)
    results = run(works, rounds, length, arguments.http_server, stem.with_suffix(".json"))
    draw(results, stem.with_suffix(".png"))
    if partial:
        text = page(results, where)
        remark = "A quick run: one round of a few works, for a first look." if quick else "A part of the whole run."
        stem.with_suffix(".md").write_text(text.replace("# Performance\n", f"# Performance\n\n**{remark}**\n", 1))
        print(text)
        print(f"{remark} {stem.relative_to(ROOT)}.md, .json and .png are written")
    else:
        draw(results, PAGE.with_suffix(".png"))
        PAGE.write_text(page(results, where, chart=PAGE.with_suffix(".png").name))
        print(f"{PAGE.relative_to(ROOT)} is written")
    complaints = results.complaints()
    for complaint in complaints:
        print(f"not sound: {complaint}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
