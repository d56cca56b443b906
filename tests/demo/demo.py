"""`make demo`: an adapter streams exchange traffic through the gateway, and survives the loss of its connection.

Starts the simulated exchange and the gateway, and is itself the adapter. Ends by itself within a minute, leaves nothing
behind, and exits non-zero if anything was lost, changed, doubled or out of order.
"""

import argparse
import asyncio
import base64
import contextlib
import gzip
import json
import os
import signal
import sys
import tempfile
import time
import urllib.request
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import fairlead

ROOT = Path(__file__).resolve().parents[2]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))

from tests.demo.account import Account, MismatchError, Outage  # noqa: E402
from tests.demo.narration import CLEAR, TTY, WIDTH, Counter, bold, cut, good, grey, paint, say  # noqa: E402
from tests.demo.server import DemoError, Server, built  # noqa: E402

TIMEOUT_S = 60
RECORDING = "coinbase_ws"
# Slow enough to watch: a recording of half a minute takes six seconds.
PACED_S = 6.0
DROPS = 6
NUMBERS_PER_S = 500


# ---- The stage. ----

CONFIGURATION = """\
listeners:
  - identity: demo
    unix: {{path: "{socket}"}}
egress:
  rules:
    - name: simulated-exchange
      schemes: [wss]
      hosts: ["127.0.0.1"]
      cidrs: ["127.0.0.0/8"]   # Loopback is refused unless a rule lifts it.
"""


@dataclass
class Stage:
    """Where the acts play: an exchange, and a gateway that the adapter is connected to."""

    gateway: fairlead.Gateway
    wss: str
    control: str
    recordings: Path

    async def drop_connection(self) -> None:
        """Makes the exchange drop the latest connection, without a word of goodbye."""
        order = json.dumps({"connection": "latest", "kind": "drop"}).encode()
        request = urllib.request.Request(
            f"http://{self.control}/fault", data=order, headers={"Content-Type": "application/json"}
        )
        # Without proxies of the environment: the exchange is on loopback.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with await asyncio.to_thread(opener.open, request, timeout=5):
            pass


# ---- The first act: what arrives is what was sent. ----


@dataclass
class Feed:
    """What the exchange is asked to send, and what must arrive."""

    title: str
    paced: str
    flat: str
    expected: list[tuple[bytes, bool]] | None
    """Payload and whether it is binary; None: synthetic, sequence numbers 1 to count."""
    count: int


def recorded_feed(path: Path) -> Feed:
    """Reads what the exchange once sent from the recording itself."""
    expected: list[tuple[bytes, bool]] = []
    at = 0.0
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            if record.get("from") == "exchange":
                at = record["at"]
                binary = "base64" in record
                payload = base64.b64decode(record["base64"]) if binary else record["text"].encode()
                expected.append((payload, binary))
    name = path.name.removesuffix(".jsonl.gz")
    speed = max(1.0, at / PACED_S)
    size = sum(len(payload) for payload, _ in expected)
    return Feed(
        title=f"{name}: {len(expected):,} messages, {size / 1e6:.1f} MB, {at:.0f} s of real order-book traffic",
        paced=f"/recording/{name}?speed={speed:.3f}",
        flat=f"/recording/{name}?speed=flat",
        expected=expected,
        count=len(expected),
    )


def synthetic_feed() -> Feed:
    count = 10_000
    return Feed(
        title=f"no recording is here, so a synthetic order book: {count:,} messages",
        paced=f"/synthetic?seed=1&rate={count / PACED_S:.0f}&count={count}&feed=paced",
        flat=f"/synthetic?seed=1&rate=0&count={count}&feed=flat",
        expected=None,
        count=count,
    )


def compare(feed: Feed, position: int, frame: fairlead.Frame) -> None:
    """Frame number `position`, from 0, is what the exchange was to send there, byte for byte and of the same kind."""
    if feed.expected is None:
        sequence = json.loads(frame.payload)["sequence"]
        if sequence != position + 1:
            raise MismatchError(f"the message {position + 1} has the sequence number {sequence}")
        return
    payload, binary = feed.expected[position]
    if frame.payload != payload:
        pairs = zip(payload, frame.payload, strict=False)
        shorter = min(len(payload), len(frame.payload))
        same = next((at for at, (sent_byte, came_byte) in enumerate(pairs) if sent_byte != came_byte), shorter)
        around = slice(max(0, same - 20), same + 40)
        sent, came = (f"{len(text)} bytes, {text[around]!r}" for text in (payload, frame.payload))
        raise MismatchError(f"message {position + 1} differs from byte {same}: sent {sent}; received {came}")
    if (frame.kind == fairlead.FrameKind.BINARY) != binary:
        raise MismatchError(
            f"message {position + 1} was sent as {'binary' if binary else 'text'}, and came as {frame.kind.name}"
        )


async def stream(stage: Stage, feed: Feed, path: str, name: str, shown: int) -> None:
    """Receives a whole feed and compares it; nothing may come after it."""
    counter = Counter("messages", feed.count)
    received = size = 0
    async with stage.gateway.websocket(f"wss://{stage.wss}{path}", name=name, start=fairlead.OLDEST) as session:
        started = time.monotonic()
        async for frame in session:
            compare(feed, received, frame)
            received += 1
            size += len(frame.payload)
            if received <= shown:
                text = frame.payload.decode(errors="replace")
                say(grey(f"    #{frame.sequence:<3} {cut(text, WIDTH - 12)}"))
            counter.tell(received)
            if received == feed.count:
                break
        took = time.monotonic() - started
        surplus = None
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(0.3):
                surplus = await anext(aiter(session), None)
        if surplus is not None:
            raise MismatchError(f"a message came after the last: {surplus.payload[:80]!r}")
    if received != feed.count:
        raise MismatchError(f"{received} of {feed.count} messages came")
    how = "sequence numbers 1 to N" if feed.expected is None else "byte for byte"
    rate = f"{received / took:,.0f} messages/s, {size / took / 1e6:.1f} MB/s"
    good(f"{received:,} of {feed.count:,} messages in order, {how}; {took:.1f} s, {rate}")


async def first_act(stage: Stage) -> None:
    recording = stage.recordings / f"{RECORDING}.jsonl.gz"
    feed = recorded_feed(recording) if recording.exists() else synthetic_feed()
    say(bold("1. What the exchange sends is what the adapter gets"))
    say(f"    {feed.title}")
    await stream(stage, feed, feed.paced, "demo-paced", shown=4)
    say("    the same once more, flat out")
    await stream(stage, feed, feed.flat, "demo-flat", shown=0)
    say()


# ---- The second act: the connection dies, and nothing is unaccounted for. ----


async def second_act(stage: Stage) -> None:
    say(bold(f"2. The exchange drops the connection {DROPS} times; the adapter does nothing about it"))
    say(f"    the exchange counts {NUMBERS_PER_S} numbers a second, whether or not anybody listens")
    account = Account()
    url = f"wss://{stage.wss}/numbered?rate={NUMBERS_PER_S}&size=64&feed=demo"
    # Short pauses, so that the demo stays short; the defaults wait up to 30 s for an exchange that stays away.
    policy = fairlead.Reconnect(initial_backoff=0.4, max_backoff=0.8, stable_after=0.5, first_retry_at_once=False)
    drops = 0
    async with stage.gateway.websocket(url, name="demo-numbered", start=fairlead.OLDEST, reconnect=policy) as session:
        counter = Counter("numbers")
        next_drop = time.monotonic() + 1.0
        async for entry in session.events():
            match entry:
                case fairlead.Frame():
                    account.entry(entry.sequence)
                    outage = account.number(int(entry.payload.split()[0]))
                    if outage:
                        tell_outage(outage, len(account.outages))
                    counter.tell(account.received)
                case fairlead.StateChanged():
                    account.entry(entry.sequence)
                    if entry.blind_from is not None and entry.blind_until is not None:
                        account.blind_window((entry.blind_until - entry.blind_from) / 1e9)
                    tell_state(entry)
                    continue
                case fairlead.CommandResult():
                    account.entry(entry.sequence)
                    continue
                case fairlead.Gap():
                    raise MismatchError(f"the entries {entry.from_sequence} to {entry.to_sequence} never came")
                case fairlead.Detached():
                    raise MismatchError(f"the stream to the gateway broke: {entry.cause}")
                case _:
                    continue
            if time.monotonic() < next_drop or len(account.outages) < drops:
                continue
            if drops == DROPS:
                break
            drops += 1
            next_drop = time.monotonic() + 1.0
            await stage.drop_connection()
    account.close()
    if account.first != 1:
        raise MismatchError(f"the first number is {account.first}, not 1")
    if len(account.outages) != DROPS:
        raise MismatchError(f"{DROPS} drops, but {len(account.outages)} outages")
    good(
        f"{account.last:,} numbers sent: {account.received:,} received, {account.missing:,} missing, "
        f"each of them in one of {DROPS} blind windows; none twice"
    )
    good(f"{account.sequence:,} journal entries, numbered without a hole")
    say()


def tell_state(change: fairlead.StateChanged) -> None:
    name = change.state.name
    colour = {"OPEN": 32, "RECONNECTING": 31}.get(name, 33)
    words = [f"    #{change.sequence:<6} {paint(f'{name:<12}', colour)} generation {change.generation}"]
    if change.cause is not None:
        words.append(change.cause.reason.name)
    if change.retry_in is not None:
        words.append(f"again in {change.retry_in:.2f} s")
    say("  ".join(words))


def tell_outage(outage: Outage, number: int) -> None:
    if outage.missing:
        lost = f"missing: {outage.missing[0]:,} to {outage.missing[-1]:,} ({len(outage.missing)} numbers)"
    else:
        lost = "nothing missing"
    between = f"between {outage.after:,} and {outage.before:,}"
    say(f"    {bold(f'outage {number}')}: blind for {outage.blind_s:.3f} s {between}; {lost}")


# ---- The play. ----


async def play(build: Path, recordings: Path) -> None:
    async with AsyncExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="fairlead-demo-")))
        authority = scratch / "ca.pem"
        exchange = await stack.enter_async_context(
            Server.start(scratch, built(build, "exchange"), "--ca-out", authority, "--recordings", recordings)
        )
        at = await exchange.ready()

        socket = scratch / "fairlead.sock"
        configuration = scratch / "demo.yaml"
        configuration.write_text(CONFIGURATION.format(socket=socket))
        fairlead_server = await stack.enter_async_context(
            Server.start(
                scratch, built(build, "fairlead"), "--config", configuration, SSL_CERT_FILE=at.get("ca", str(authority))
            )
        )
        await fairlead_server.ready()

        say(bold("Fairlead demo"))
        say(f"    exchange  wss://{at['wss']}  simulated; its certificate is verified like any other")
        say(f"    gateway   unix:{socket}")
        say("    adapter   this Python program")
        say()
        try:
            async with fairlead.connect(f"unix://{socket}") as gateway:
                stage = Stage(gateway, at["wss"], at["control"], recordings)
                await first_act(stage)
                await second_act(stage)
        except Exception:
            sys.stdout.write(CLEAR if TTY else "")
            sys.stderr.write(fairlead_server.log_end() + exchange.log_end())
            raise
        await fairlead_server.stop()
        good("the gateway has ended in order")


async def within_time(build: Path, recordings: Path) -> None:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with asyncio.timeout(TIMEOUT_S):
        await play(build, recordings)


def main() -> int:
    parser = argparse.ArgumentParser(
        description="Streams through the gateway and compares what arrives with what was sent."
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build/release", help="where the binaries are")
    default = Path(os.environ.get("FAIRLEAD_RECORDINGS") or ROOT.parent / "shared/recordings")
    parser.add_argument("--recordings", type=Path, default=default, help="where recordings are, if there are any")
    arguments = parser.parse_args()
    started = time.monotonic()
    try:
        asyncio.run(within_time(arguments.build.resolve(), arguments.recordings.resolve()))
    except (MismatchError, DemoError, fairlead.FairleadError) as error:
        print(f"{paint('✗', 31) if TTY else 'FAILED:'} {error}", file=sys.stderr)
        return 1
    except TimeoutError:
        print(f"{paint('✗', 31) if TTY else 'FAILED:'} not done within {TIMEOUT_S} s", file=sys.stderr)
        return 1
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("stopped", file=sys.stderr)
        return 130
    say(f"\n{bold('Nothing lost, nothing doubled, nothing unaccounted for.')}  ({time.monotonic() - started:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
