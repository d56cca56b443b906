"""Client of Fairlead, the gateway that owns a trading firm's exchange connections.

    async with fairlead.connect("unix:///run/fairlead.sock") as gateway:
        reply = await gateway.http.get("https://api.example.com/time", timeout=2)
        print(reply.status, reply.json())
        async with gateway.websocket("wss://stream.example.com/ws", name="md") as session:
            async for frame in session:
                print(frame.sequence, frame.text)

fairlead.errors draws the tree of exceptions.
"""

try:
    import fairlead.v1.session_pb2  # noqa: F401
except ImportError as error:  # pragma: no cover - in a checkout only
    raise ImportError("the generated stubs are missing or do not fit: run clients/python/generate.py") from error

from fairlead.entries import (
    Asked,
    Attached,
    Batch,
    CommandResult,
    Detached,
    Entry,
    EpochChanged,
    Frame,
    Gap,
    LegChanged,
    Overlap,
    Sent,
    StateChanged,
    TopicChanged,
)
from fairlead.errors import (
    Failure,
    FairleadError,
    GatewayUnavailable,
    InvalidRequest,
    LimitReached,
    NotImplementedByGateway,
    OpenTimeout,
    OutcomeUnknown,
    PermissionDenied,
    ResponseUnusable,
    SendFailed,
    SessionEnded,
    SessionLive,
    SessionNotFound,
    Superseded,
)
from fairlead.gateway import Gateway, connect
from fairlead.http import Http
from fairlead.options import (
    HEAD,
    OLDEST,
    After,
    Delimiter,
    Delivery,
    Heartbeat,
    LengthPrefix,
    Queue,
    Retention,
    Start,
    StartFrom,
    Step,
    Target,
    Topic,
    Unframed,
)
from fairlead.reader import Reader
from fairlead.reconnecting import Dedupe, Reconnect
from fairlead.reply import HeaderFields, HttpReply, HttpStatusError, HttpTiming
from fairlead.session import Session
from fairlead.summary import Leg, SessionSummary, Subscriber
from fairlead.tokens import Token, token_file
from fairlead.v1.enums import FrameKind, Outcome, Overflow, Phase, Reason, SessionState, StartOutcome

__version__ = "0.1.0"

__all__ = [
    "HEAD",
    "OLDEST",
    "After",
    "Asked",
    "Attached",
    "Batch",
    "CommandResult",
    "Dedupe",
    "Delimiter",
    "Delivery",
    "Detached",
    "Entry",
    "EpochChanged",
    "Failure",
    "FairleadError",
    "Frame",
    "FrameKind",
    "Gap",
    "Gateway",
    "GatewayUnavailable",
    "HeaderFields",
    "Heartbeat",
    "Http",
    "HttpReply",
    "HttpStatusError",
    "HttpTiming",
    "InvalidRequest",
    "Leg",
    "LegChanged",
    "LengthPrefix",
    "LimitReached",
    "NotImplementedByGateway",
    "OpenTimeout",
    "Outcome",
    "OutcomeUnknown",
    "Overflow",
    "Overlap",
    "PermissionDenied",
    "Phase",
    "Queue",
    "Reader",
    "Reason",
    "Reconnect",
    "ResponseUnusable",
    "Retention",
    "SendFailed",
    "Sent",
    "Session",
    "SessionEnded",
    "SessionLive",
    "SessionNotFound",
    "SessionState",
    "SessionSummary",
    "Start",
    "StartFrom",
    "StartOutcome",
    "StateChanged",
    "Step",
    "Subscriber",
    "Superseded",
    "Target",
    "Token",
    "Topic",
    "TopicChanged",
    "Unframed",
    "connect",
    "token_file",
]
