"""How a session is entered, at first and again."""

from collections.abc import Mapping

from fairlead.options import StartFrom, Step, encode_start
from fairlead.v1 import session_pb2 as pb


class Entrance:
    """An Open or a Join: what stays the same each time, and the setup as it is then."""

    def __init__(self, message: pb.Open | pb.Join, setup: Mapping[str, Step]) -> None:
        self._message = message
        self._setup = setup

    @property
    def session(self) -> str:
        """The name that was asked for; empty: anonymous."""
        return self._message.session

    @property
    def joins(self) -> bool:
        """Whether it is a Join, which makes no session."""
        return isinstance(self._message, pb.Join)

    @property
    def own(self) -> bool:
        """Whether the session is of this program's identity."""
        return not (isinstance(self._message, pb.Join) and self._message.identity)

    def command(self, channel: int, command_id: int, start: StartFrom) -> pb.Command:
        """Make the command."""
        command = pb.Command(channel=channel, id=command_id)
        if isinstance(self._message, pb.Open):
            command.open.CopyFrom(self._message)
            command.open.setup.extend(step.to_proto() for step in self._setup.values())
            command.open.start.CopyFrom(encode_start(start))
        else:
            command.join.CopyFrom(self._message)
            command.join.start.CopyFrom(encode_start(start))
        return command
