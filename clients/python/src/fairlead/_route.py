"""Where a session may be: the gateways in its order."""

import asyncio
from collections.abc import Collection, Sequence

from fairlead._calls import get_session
from fairlead._link import Link
from fairlead.errors import FairleadError
from fairlead.summary import SessionSummary
from fairlead.v1.enums import SessionState

# How long a gateway may take to say whether it has a session. One that hangs delays new sessions by so much.
_SEEK_S = 1.0


class Route:
    """The links of one session in its order, the first being its home; of a single gateway there is only that."""

    def __init__(self, links: Sequence[Link]) -> None:
        self._links = links
        self._found: Link | None = None

    @property
    def home(self) -> Link:
        """The first."""
        return self._links[0]

    async def seek(self, name: str) -> None:
        """Ask all gateways that are there for a live session of this name, which then is entered where it is.

        One that has an owner is preferred: without, it may only be what a move has left behind.
        """
        if len(self._links) == 1:
            return
        links = [link for link in self._links if link.usable]
        found = await asyncio.gather(*(_ask(link, name) for link in links))
        live = [(link, each) for link, each in zip(links, found, strict=True) if each is not None]
        owned = [link for link, each in live if any(subscriber.owner for subscriber in each.subscribers)]
        self._found = next(iter([*owned, *(link for link, _ in live)]), None)

    def place(self) -> Link:
        """Choose where to enter at first: where the session is, or the first that is not gone, or home."""
        if self._found is not None and self._found.usable:
            return self._found
        left = [link for link in self._links if not link.refused]
        return next((link for link in left if not link.gone and not link.draining), left[0] if left else self.home)

    def elsewhere(self, tried: Collection[Link]) -> Link | None:
        """Choose where to go from those that were tried: the first of the others that takes sessions now."""
        return next((link for link in self._links if link.usable and link not in tried), None)

    def later(self) -> Link | None:
        """Choose where to wait when this client is refused: the first that may come back."""
        return next((link for link in self._links if not link.refused), None)


async def _ask(link: Link, name: str) -> SessionSummary | None:
    try:
        summary = await get_session(link, name, _SEEK_S)
    except FairleadError:
        return None
    return summary if summary.state is not SessionState.CLOSED else None
