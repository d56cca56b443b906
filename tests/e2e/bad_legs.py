"""Wrong Opens of two transports, with the answers that docs/errors.md documents."""

from typing import Any

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import Dedupe, SocketOptions, Unframed
from tests.e2e.wrong import Wrong, opening, reconnecting

WHOLE = Dedupe()
UNFRAMED = SocketOptions(unframed=Unframed())


def wrong(name: str, says: str, **fields: Any) -> Wrong:
    return opening(name, "INVALID_FIELD", says, **fields)


def pointing(name: str, pointer: str, says: str) -> Wrong:
    return wrong(name, says, dedupe=Dedupe(json_pointer=pointer))


def remembering(name: str, window: Duration, says: str) -> Wrong:
    return wrong(name, says, dedupe=Dedupe(window=window))


OF_OPEN = (
    wrong("three legs", "open.legs: must be at most 2", legs=3, dedupe=WHOLE),
    wrong("two legs without dedupe", "open.legs: needs dedupe", legs=2),
    wrong("two legs without framing", "open.dedupe: needs frames", url="{tcp}", legs=2, dedupe=WHOLE, socket=UNFRAMED),
    pointing("pointer without a slash", "seq", "open.dedupe.json_pointer: must be an RFC 6901"),
    pointing("pointer with a bare tilde", "/a~", "open.dedupe.json_pointer: must be an RFC 6901 pointer"),
    pointing("pointer with an unknown escape", "/a~2b", "open.dedupe.json_pointer: must be an"),
    pointing("pointer of 257 bytes", "/" + "x" * 256, "open.dedupe.json_pointer: must have at most 256 bytes"),
    remembering("window below 10 ms", Duration(nanos=9_999_999), "open.dedupe.window: must be 10 ms to 60 s"),
    remembering("window beyond a minute", Duration(seconds=60, nanos=1), "open.dedupe.window: must be"),
    reconnecting(
        "overlap beyond a minute", "open.reconnect.overlap: must be at most 60 s", overlap=Duration(seconds=60, nanos=1)
    ),
    wrong("negative lag of a leg", "open.max_leg_lag: must be a span", max_leg_lag=Duration(seconds=-1)),
)
