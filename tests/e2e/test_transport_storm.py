"""Everything at once, drawn from a seed: transports are cut, refused, late and replaced, and all of it is told."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator

import pytest

import fairlead
from fairlead import SessionState, StateChanged
from tests.e2e.account import Account, accounted
from tests.e2e.feed_peer import FeedPeer, Line, feed_peer
from tests.e2e.processes import eventually

STORM_S = 4.0
OVERLAP_S = 0.1


@pytest.fixture
async def peer() -> AsyncIterator[FeedPeer]:
    async with feed_peer() as peer:
        yield peer


async def storm(session: fairlead.Session, peer: FeedPeer, draw: random.Random) -> list[str]:
    """Does something every few milliseconds; returns what."""
    done = []
    loop = asyncio.get_running_loop()
    end = loop.time() + STORM_S
    while loop.time() < end:
        what = draw.choice(["cut", "cut oldest", "close", "rotate", "rotate", "reconnect", "refuse", "accept", "rest"])
        done.append(what)
        live = peer.live
        match what:
            case "cut" if live:
                draw.choice(live).kill()
            case "cut oldest" if live:
                live[0].kill()
            case "close" if live:
                await draw.choice(live).connection.close(draw.choice([1000, 1001, 1012, 1011]))
            case "rotate":
                await session.reconnect(make_before_break=True)
            case "reconnect":
                await session.reconnect()
            case "refuse":
                peer.refusing = True
            case _:
                peer.refusing = False
        await asyncio.sleep(draw.choice([0, 0.005, 0.02, 0.1]))
    peer.refusing = False
    return done


async def trade(session: fairlead.Session, draw: random.Random) -> dict[int, str]:
    """Sends numbered orders until it is cancelled, then returns what became of each."""
    became: dict[int, str] = {}
    while True:
        number = len(became) + 1
        try:
            await session.send(json.dumps({"op": "order", "id": number}), max_wait=draw.choice([0, 0.02]))
            became[number] = "written"
        except fairlead.SendFailed:
            became[number] = "not sent"
        except fairlead.OutcomeUnknown:
            became[number] = "unknown"
        except asyncio.CancelledError:
            return became
        try:
            await asyncio.sleep(draw.choice([0, 0.002]))
        except asyncio.CancelledError:
            return became


def check_orders(became: dict[int, str], peer: FeedPeer) -> None:
    """None twice, and none of which it was said that it was not sent."""
    arrived = Counter(json.loads(text)["id"] for line in peer.lines for text in line.heard)
    print(Counter(became.values()))
    assert not [number for number, times in arrived.items() if times > 1]
    assert not [number for number in arrived if became.get(number) == "not sent"]


def check_lives(account: Account) -> None:
    """Each transport's life is told in order, and ends at most once."""
    lives: dict[int, list[str]] = {}
    for entry in account.told_entries():
        if entry.generation:
            kind = "own" if isinstance(entry, StateChanged) else "leg"
            lives.setdefault(entry.generation, []).append(f"{kind} {entry.state.name}")
    assert list(lives) == sorted(lives), "generations never go back"
    for generation, life in lives.items():
        ends = [at for at, what in enumerate(life) if what in {"leg CLOSED", "leg RECONNECTING"}]
        assert len(ends) <= 1, f"{generation} ended twice: {life}"
        assert not ends or ends[0] == len(life) - 1, f"{generation} goes on after its end: {life}"
        assert life[0] in {"leg OPENING", "own OPENING"}, f"{generation} begins with {life[0]}"


def check_missing(account: Account, last: int) -> None:
    """Whatever is missing lies where the session has said so."""
    missing = account.missing(last)
    holes = [number for number in missing if number - 1 not in missing]
    told = [state for state in account.states if state.blind_from or (state.overlap and state.overlap.may_be_missing)]
    print(f"{len(missing)} numbers missing in {len(holes)} holes, {len(told)} times told that it may be so")
    assert len(holes) <= len(told)


@pytest.mark.parametrize("legs", [1, 2])
@pytest.mark.parametrize("delayed", [False, True])
async def test_storm(client: fairlead.Gateway, peer: FeedPeer, seed: int, legs: int, delayed: bool) -> None:
    draw = random.Random(seed)

    def prepare(line: Line) -> None:
        line.delay_s = draw.choice([0, 0, 0.05]) if delayed else 0

    peer.prepare = prepare
    policy = fairlead.Reconnect(
        make_before_break=True, overlap=OVERLAP_S, initial_backoff=0.01, max_backoff=0.05, stable_after=0.05
    )
    session = client.websocket(peer.url, name="md", legs=legs, dedupe=fairlead.Dedupe("/seq"), reconnect=policy)
    async with accounted(session) as account:
        trading = asyncio.create_task(trade(session, random.Random(seed)))
        print(await storm(session, peer, draw))
        trading.cancel()
        became = await trading
        await eventually(lambda: session.state is SessionState.OPEN and len(peer.live) == legs, "calm")
        calm = peer.number + 100
        await account.until(lambda: calm in account.numbers, "the feed goes on")
        await eventually(lambda: peer.stop() and not any(line.waiting for line in peer.live), "all is sent")
        last = peer.number
        await account.until(lambda: last in account.numbers, "the feed's end")
        print(account.told)
        assert not account.repeated()
        assert not account.disordered
        check_lives(account)
        check_orders(became, peer)
        check_missing(account, last)
        summary = await client.session("md")
        account.ends_add_up(summary)
        assert session.state is SessionState.OPEN
