"""Wrong Opens of two transports, with the answers that docs/errors.md documents."""

from typing import Any

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import Dedupe, SocketOptions, Unframed
from fairlead.v1.types_pb2 import Match
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
    wrong("three legs", "open.legs: must be 1 or 2", legs=3, dedupe=WHOLE),
    wrong("two legs without dedupe", "open.legs: 2 need dedupe", legs=2),
    wrong("two legs without framing", "open.dedupe: an unframed", url="{tcp}", legs=2, dedupe=WHOLE, socket=UNFRAMED),
    wrong("dedupe without framing", "open.dedupe: an unframed raw", url="{tcp}", dedupe=WHOLE, socket=UNFRAMED),
    pointing("pointer without a slash", "seq", "open.dedupe.json_pointer: must be empty or an RFC 6901 pointer"),
    pointing("pointer with a bare tilde", "/a~", "open.dedupe.json_pointer: must be empty or an"),
    pointing("pointer with an unknown escape", "/a~2b", "with ~0 and ~1 for ~ and /"),
    pointing("pointer of 257 bytes", "/" + "x" * 256, "open.dedupe.json_pointer: has at most 256 bytes"),
    remembering("window below 10 ms", Duration(nanos=9_999_999), "open.dedupe.window: must be between 10 ms"),
    remembering("window beyond a minute", Duration(seconds=60, nanos=1), "open.dedupe.window: must be between"),
    reconnecting(
        "overlap beyond a minute", "open.reconnect.overlap: must be at most 60 s", overlap=Duration(seconds=60, nanos=1)
    ),
    reconnecting(
        "announcement beyond the limit",
        "open.reconnect.shutdown: limits.setup_bytes is 1024",
        "LIMIT_REACHED",
        shutdown=Match(contains=[b"x" * 1025]),
    ),
    reconnecting("empty announcement", "open.reconnect.shutdown.contains", shutdown=Match(contains=[b""])),
    wrong(
        "negative lag of a leg",
        "open.max_leg_lag: must be a span",
        legs=2,
        dedupe=WHOLE,
        max_leg_lag=Duration(seconds=-1),
    ),
    wrong("lag of an only leg", "open.max_leg_lag: is for two legs only", max_leg_lag=Duration(seconds=1)),
)
