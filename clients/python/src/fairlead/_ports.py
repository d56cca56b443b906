"""Whom a link tells what."""

from typing import TYPE_CHECKING, Protocol

from fairlead.errors import FairleadError
from fairlead.v1 import session_pb2 as pb

if TYPE_CHECKING:
    from fairlead._link import Link


class ChannelPort(Protocol):
    """What the link, and the place of a session, tell a channel."""

    name: str
    """The session's; of one that is not entered yet and was given none it is empty."""

    def stream_up(self) -> None:
        """Enter the session: a new stream is there."""

    def stream_lost(self, error: FairleadError) -> None:
        """Prepare to come back: the stream is gone, and what was written to it may or may not have arrived."""

    def end(self, error: FairleadError | None) -> None:
        """End for good: there will be no other stream."""

    def on_frames(self, run: pb.Run, payloads: list[bytes], received_at: list[int]) -> None:
        """Take frames."""

    def on_event(self, kind: str, event: pb.Event) -> None:
        """Take an event that is not a batch."""

    def move_on(self) -> None:
        """Enter on another link if there is one: this one is gone."""

    @property
    def owned(self) -> str:
        """The session's name, if it has one that was given, and this program owns it; else empty."""


class Watch(Protocol):
    """Who is told how a link fares, after its channels."""

    def on_up(self, link: "Link") -> None:
        """Learn that a stream is there."""

    def on_draining(self, link: "Link") -> None:
        """Learn that the gateway is about to stop."""

    def on_lost(self, link: "Link") -> None:
        """Learn that the stream is lost."""

    def on_refused(self, link: "Link") -> None:
        """Learn that there will be no other stream: the gateway refuses this client, or the client has failed."""
