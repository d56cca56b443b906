"""Sessions whose transports change, or that have two: what that costs the feed."""

import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import fairlead
from fairlead import Leg, SessionState
from tests.e2e.account import Account, accounted
from tests.e2e.feed_peer import FeedPeer, Line, feed_peer
from tests.e2e.processes import Exchange, Gateway, eventually
from tests.proof.usage import Usage

ROTATIONS = 100
ROTATION_RATE = 5_000
OVERLAP_S = 0.1
# Between rotations the feed goes on alone.
PAUSE_FRAMES = 250
# And before the first.
ALONE_FRAMES = 15_000

CUTS = 20
LEGS_RATE = 1_000
DELAY_S = 0.05
NAME = "md"


async def rotation(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """100 rotations by command, of a feed that all connections share; each begins when the old transport is gone."""
    policy = fairlead.Reconnect(make_before_break=True, overlap=OVERLAP_S)
    dedupe = fairlead.Dedupe("/sequence")
    retention = fairlead.Retention(journal_bytes=2**27)
    url = f"{exchange.ws}/synthetic?rate={ROTATION_RATE}&feed=rotation"
    took: list[float] = []
    replaced_at: list[float] = []
    async with fairlead.connect(gateway.address) as client:
        session = client.websocket(url, name=NAME, dedupe=dedupe, reconnect=policy, retention=retention)
        session.on_state(lambda change: replaced_at.append(time.perf_counter()) if change.overlap else None)
        async with accounted(session) as account:
            began, before = time.perf_counter(), Usage.of(gateway.pid)
            await _fed(account, ALONE_FRAMES)
            alone = (Usage.of(gateway.pid).cpu_s - before.cpu_s) / (time.perf_counter() - began)
            began, before = time.perf_counter(), Usage.of(gateway.pid)
            for generation in range(1, ROTATIONS + 1):
                await _fed(account, PAUSE_FRAMES)
                asked = time.perf_counter()
                await session.reconnect(make_before_break=True)
                await account.until(_ended(account, generation), f"the end of generation {generation}")
                took.append(replaced_at[-1] - asked)
            rotating = (Usage.of(gateway.pid).cpu_s - before.cpu_s) / (time.perf_counter() - began)
            await exchange.fault("stall")
            last: int = (await exchange.connections())[-1]["last_number"]
            await account.until(lambda: last in account.numbers, f"number {last}")
            account.never_down()
            account.adds_up(await client.session(NAME))
        connections = await exchange.connections()
        await client.close_session(NAME)
    overlaps = [change.overlap for change in account.rotations() if change.overlap]
    return {
        "rotation: rotations": float(len(overlaps)),
        "rotation: numbers sent": float(last - min(account.numbers) + 1),
        "rotation: numbers missing": float(len(account.missing(last))),
        "rotation: numbers that came twice": float(len(account.repeated())),
        "rotation: rotations that cannot tell that nothing is missing": float(
            sum(overlap.may_be_missing for overlap in overlaps)
        ),
        "rotation: connections that the exchange saw": float(len(connections)),
        "rotation: moments without a connection": float(_moments_without(connections)),
        "rotation: copies that were not delivered, a rotation": sum(leg.copies for leg in account.legs) / ROTATIONS,
        "rotation: from the command to the new transport, ms": statistics.median(took) * 1e3,
        "rotation: longest silence between two frames, ms": _longest_silence_ms(account),
        "rotation: gateway CPU before, % of a core": alone * 100,
        "rotation: gateway CPU, % of a core": rotating * 100,
    }


async def legs(gateway: Gateway, exchange: Exchange) -> dict[str, float]:
    """Two legs, every second connection late; now the one, now the other is cut without a word, beside one alone."""
    policy = fairlead.Reconnect(initial_backoff=0.02, max_backoff=0.1, stable_after=0)
    dedupe = fairlead.Dedupe("/seq")
    lags: list[Leg] = []
    async with feed_peer(LEGS_RATE) as peer, fairlead.connect(gateway.address) as client:
        peer.prepare = _late_in_turn(peer)
        two = client.websocket(f"{peer.url}/two", name="two", legs=2, dedupe=dedupe, reconnect=policy)
        one = client.websocket(f"{peer.url}/one", name="one", reconnect=policy)
        async with accounted(two) as account, accounted(one) as alone:
            for cut in range(1, CUTS + 1):
                await account.until(_set_up(account, cut + 1), f"leg {cut + 1}")
                await _fed(account, LEGS_RATE // 4)
                there = (await client.session("two")).legs
                lags += [leg for leg in there if _line_of(peer, leg).delay_s]
                # The prompt one and the late one in turn.
                late = bool(cut % 2)
                cut_now = next(leg for leg in there if bool(_line_of(peer, leg).delay_s) is late)
                _line_of(peer, cut_now).kill()
                await alone.until(_is_open(alone, cut), f"transport {cut} of the one alone")
                next(line for line in reversed(peer.lines) if line.path == "/one").kill()
            await account.until(_set_up(account, CUTS + 2), "two legs at the end")
            await alone.until(_is_open(alone, CUTS + 1), "the one alone at the end")
            last = peer.stop()
            await eventually(lambda: _all_received(client, peer), "all that both legs were sent")
            await account.until(lambda: last in account.numbers, f"number {last}")
            await alone.until(lambda: last in alone.numbers, f"number {last} of the one alone")
            account.never_down()
            account.adds_up(await client.session("two"))
        for name in ("two", "one"):
            await client.close_session(name)
    return {
        "legs: cuts": float(CUTS),
        "legs: numbers sent": float(last - min(account.numbers) + 1),
        "legs: numbers missing": float(len(account.missing(last))),
        "legs: numbers that came twice": float(len(account.repeated())),
        "legs: blind windows": float(_blind_windows(account)),
        "legs: longest silence between two frames, ms": _longest_silence_ms(account),
        "legs: lag of the late one, p50, ms": statistics.median(leg.lag_p50 or 0 for leg in lags) * 1e3,
        "legs: numbers missing of one alone, cut as often": float(len(alone.missing(last))),
        "legs: blind windows of one alone": float(_blind_windows(alone)),
    }


async def _fed(account: Account, count: int) -> None:
    enough = len(account.numbers) + count
    await account.until(lambda: len(account.numbers) >= enough, "the feed goes on")


def _ended(account: Account, generation: int) -> Callable[[], object]:
    return lambda: account.leg(SessionState.CLOSED, generation)


def _set_up(account: Account, generation: int) -> Callable[[], object]:
    return lambda: account.leg(SessionState.OPEN, generation)


def _is_open(account: Account, generation: int) -> Callable[[], bool]:
    return lambda: f"OPEN {generation}" in account.told


async def _all_received(client: fairlead.Gateway, peer: FeedPeer) -> bool:
    there = (await client.session("two")).legs
    return not any(line.waiting for line in peer.live) and all(
        leg.received_frames == _line_of(peer, leg).sent for leg in there
    )


def _late_in_turn(peer: FeedPeer) -> Callable[[Line], None]:
    """Of two there is always one late, and one that is not."""

    def prepare(line: Line) -> None:
        late_ones = sum(bool(other.delay_s) for other in peer.live if other.path == line.path)
        others = sum(other.path == line.path for other in peer.live)
        if line.path == "/two" and others and not late_ones:
            line.delay_s = DELAY_S

    return prepare


def _line_of(peer: FeedPeer, leg: Leg) -> Line:
    return [line for line in peer.lines if line.path == "/two"][leg.generation - 1]


def _blind_windows(account: Account) -> int:
    return sum(state.blind_from is not None for state in account.states)


def _moments_without(connections: list[dict[str, Any]]) -> int:
    """Between one connection and the next."""
    pairs = itertools.pairwise(connections)
    return sum(before["closed_at_unix_ns"] < after["opened_at_unix_ns"] for before, after in pairs)


def _longest_silence_ms(account: Account) -> float:
    pairs = itertools.pairwise(sorted(account.heard))
    return max(later - earlier for earlier, later in pairs) / 1e6
