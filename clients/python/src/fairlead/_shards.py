"""The gateways of one Gateway object: connected all, and left when they are gone."""

import asyncio
import contextlib
import logging
import secrets
from collections.abc import Mapping

from fairlead import sharding
from fairlead._calls import close_session, list_sessions
from fairlead._dial import Dial
from fairlead._link import Link
from fairlead._route import Route
from fairlead.errors import Failure, FairleadError, GatewayUnavailable
from fairlead.v1.enums import Phase

_log = logging.getLogger("fairlead")

# How long entering waits for all gateways at least: who goes on with the first that answers has all sessions there.
_ENTER_S = 1.0
# Pauses before each look at what a move has left behind. A gateway that was out of reach may for a while take the old
# stream for alive, and this program for the owner there.
_TIDY_PAUSES_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)


class Shards:
    """The links to all gateways, and which of them are gone. Of one gateway it is nothing but its link.

    A gateway is gone when it has had no stream for move_after seconds, when it said that it stops and the stream has
    ended, or when it refuses this client. Its sessions then move on; those that find no other wait, on the way that a
    session waits for a single gateway.
    """

    def __init__(self, dials: Mapping[str, Dial], move_after: float) -> None:
        watch = self if len(dials) > 1 else None
        self._links = {name: Link(dial, name, watch) for name, dial in dials.items()}
        self._move_after = move_after
        self._patience: dict[Link, asyncio.TimerHandle] = {}
        self._settling: asyncio.TimerHandle | None = None
        self._tidying: set[asyncio.Task[None]] = set()
        self._changed = asyncio.Event()

    @property
    def links(self) -> list[Link]:
        """All of them."""
        return list(self._links.values())

    def ordered(self, key: str) -> list[Link]:
        """Give the links in the order of a key."""
        return [self._links[name] for name in sharding.order(key, self._links)]

    def route(self, session: str) -> Route:
        """Give the way of a session; of one without a name by a key that is drawn, so that they are shared out, too."""
        return Route(self.ordered(session or secrets.token_hex(16)))

    def link_for(self, url: str) -> Link:
        """Choose where a request goes: by its origin, without patience, since a request has nothing to lose."""
        links = self.links
        if len(links) > 1:
            links = self.ordered(sharding.origin(url))
        # One that drains says so itself, if there is no other.
        there = [link for link in links if link.usable] or [link for link in links if link.streaming]
        return next((link for link in [*there, *links] if not link.refused), links[0])

    async def start(self, timeout: float) -> None:
        """Connect.

        Several gateways are given move_after, and a second at least; one must be there by then, or within `timeout`
        seconds. Raises GatewayUnavailable if none is, and what one refuses this client with.
        """
        links = self.links
        if not any(link.running for link in links):
            await self.stop()  # If that was cancelled before, there are tasks that have not ended yet.
        if len(links) == 1:
            await links[0].start(timeout)
            return
        links[0].require_token()  # Else nobody would say so: from here on it is waited for.
        began = asyncio.get_running_loop().time()
        for link in links:
            link.gone = False
            link.begin()
        try:
            with contextlib.suppress(TimeoutError):
                await self._until_up(len(links), began + min(timeout, max(self._move_after, _ENTER_S)))
            with contextlib.suppress(TimeoutError):
                await self._until_up(1, began + timeout)
            if not any(link.streaming for link in links):
                why = "; ".join(f"{link.name}: {link.error or 'no answer'}" for link in links)
                raise GatewayUnavailable(
                    Failure(phase=Phase.NOT_SENT, message=f"none of {len(links)} gateways answers: {why}")
                )
        except BaseException:
            await self.stop()
            raise
        for link in links:
            if not link.streaming:
                self._leave(link)

    async def stop(self) -> None:
        """End all links, and what is under way. Idempotent.

        Cancelling it is safe: what has not ended yet ends all the same, at once.
        """
        ending = self._tidying.union(*(link.end() for link in self.links))
        # From here on nothing begins.
        for timer in self._patience.values():
            timer.cancel()
        self._patience.clear()
        if self._settling is not None:
            self._settling.cancel()
            self._settling = None
        for task in self._tidying:
            task.cancel()
        if ending:
            await asyncio.wait(ending)

    # Called by the links.

    def on_up(self, link: Link) -> None:
        """Count with it again. Sessions that moved stay where they are: a move costs a blind window."""
        self._changed.set()
        was_gone, link.gone = link.gone, False
        patience = self._patience.pop(link, None)
        if patience is not None:
            patience.cancel()
        self._hurry()  # Whatever the others were away for may be over, too.
        # Only when all were gone: then the others get the same patience to come back to their own.
        if self._settling is None and any(each.channels for each in self.links if each.gone):
            delay = self._move_after if was_gone else 0
            self._settling = asyncio.get_running_loop().call_later(delay, self._settle)
        names = link.left & {name for each in self.links if each is not link for name in each.owned()}
        link.left.clear()
        if names:
            task = asyncio.create_task(_close_left(link, names), name="fairlead close left sessions")
            self._tidying.add(task)
            task.add_done_callback(self._tidying.discard)

    def on_draining(self, link: Link) -> None:
        """Have its sessions find the others."""
        self._hurry()

    def on_lost(self, link: Link) -> None:
        """Give it move_after to come back, unless it has said that it stops."""
        if link.draining:
            self._leave(link)
        else:
            self._patience[link] = asyncio.get_running_loop().call_later(self._move_after, self._leave, link)

    def on_refused(self, link: Link) -> None:
        """Leave it for good."""
        self._changed.set()
        for channel in link.channels:
            channel.stream_lost(link.error or FairleadError(Failure()))
        self._leave(link)

    def _leave(self, link: Link) -> None:
        self._patience.pop(link, None)
        link.gone = True
        self._hurry()
        _log.warning("the gateway %s is gone; sessions that move on: %d", link.name, len(link.channels))
        for channel in link.channels:
            channel.move_on()

    def _hurry(self) -> None:
        """Try those that are away at once: their pauses may have grown long."""
        for link in self.links:
            if not link.streaming:
                link.hurry()

    def _settle(self) -> None:
        self._settling = None
        for link in self.links:
            if link.gone:
                for channel in link.channels:
                    channel.move_on()

    async def _until_up(self, count: int, deadline: float) -> None:
        async with asyncio.timeout_at(deadline):
            while sum(link.streaming for link in self.links) < count:
                for link in self.links:
                    if link.refused and link.error is not None:
                        raise link.error
                self._changed.clear()
                await self._changed.wait()


async def _close_left(link: Link, names: set[str]) -> None:
    """Close what lives on where it was moved away from, and has no owner: else the exchange sees it until its linger.

    Without success that is what happens.
    """
    for pause in _TIDY_PAUSES_S:
        await asyncio.sleep(pause)
        try:
            listed = [each for each in await list_sessions(link) if each.name in names - link.owned()]
            for each in listed:
                if not any(subscriber.owner for subscriber in each.subscribers):
                    await close_session(link, each.name)
                    names.discard(each.name)
                    _log.info("session %s, which has moved away from %s, is closed there", each.name, link.name)
        except FairleadError as error:
            _log.info("what has moved away from %s is not closed there: %s", link.name, error)
            return
        if not names & {each.name for each in listed}:
            return
