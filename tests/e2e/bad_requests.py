"""Wrong commands, with the answers that docs/errors.md documents. test_bad_input.py sends them."""

from google.protobuf.duration_pb2 import Duration

from fairlead.v1.session_pb2 import Answer, Close, Command, Join, Open, Ping, Send, SetTarget, Target
from fairlead.v1.types_pb2 import Header
from tests.e2e import bad_sockets
from tests.e2e.bad_opens import OF_OPEN
from tests.e2e.wrong import CHARGE, NOT_AN_ENUM_VALUE, UNKNOWN_FIELD, Wrong, refused, sending


def retargeting(name: str, says: str, url: str, *headers: Header) -> Wrong:
    return Wrong(
        name,
        refused("INVALID_FIELD"),
        says,
        Command(set_target=SetTarget(target=Target(url=url, headers=headers))),
    )


# Sent on the channel of a good session.
OF_CHANNEL = (
    Wrong("command without action", refused("INVALID_FIELD"), "has no action", Command()),
    Wrong(
        "command with an unknown field",
        refused("UNKNOWN_FIELD"),
        "Command: field number 1000",
        Command.FromString(UNKNOWN_FIELD),
    ),
    Wrong(
        "SetTarget without target",
        refused("INVALID_FIELD"),
        "set_target.target: is required",
        Command(set_target=SetTarget()),
    ),
    retargeting("SetTarget that is no URL", "set_target.target.url: ", "ws//localhost"),
    retargeting("SetTarget of another scheme", "set_target.target.url: the scheme must be", "wss://localhost/echo"),
    retargeting(
        "SetTarget with a header of ours",
        "set_target.target.headers",
        "ws://localhost/echo",
        Header(name="Upgrade", value="x"),
    ),
    Wrong(
        "Answer to a setup step",
        refused("INVALID_FIELD"),
        "answer.key: must be empty",
        Command(answer=Answer(key="login", number=1)),
    ),
    Wrong("Answer without number", refused("INVALID_FIELD"), "answer.number: is required", Command(answer=Answer())),
    Wrong(
        "Answer that nobody asked for",
        refused("NOT_ASKED"),
        "answer.number: nothing with this number",
        Command(answer=Answer(number=1)),
    ),
    Wrong(
        "Answer with a wrong target",
        refused("INVALID_FIELD"),
        "answer.target.url: the scheme must be",
        Command(answer=Answer(number=1, target=Target(url="wss://localhost/echo"))),
    ),
    Wrong("Open twice on one channel", refused("CHANNEL_IN_USE"), "channel: 1 is in use", Command(open=Open())),
    sending("text that is not UTF-8", "INVALID_FIELD", "send.payload: a text frame", payload=b"\xff\xfe"),
    sending("frame of an unknown kind", "INVALID_FIELD", "send.kind", payload=b"x", kind=NOT_AN_ENUM_VALUE),
    sending("Send with charges", "NOT_IMPLEMENTED", "send.charges", payload=b"x", charges=[CHARGE]),
    sending("Send with a permit", "NOT_IMPLEMENTED", "send.permit", payload=b"x", permit="p"),
    sending("answer to a key with a space", "INVALID_FIELD", "send.answers: must match", answers="a b", generation=1),
    sending("answer without generation", "INVALID_FIELD", "send.generation: is required with answers", answers="a"),
    sending(
        "answer that waits",
        "INVALID_FIELD",
        "send.max_wait: an answer",
        answers="a",
        generation=1,
        max_wait=Duration(seconds=1),
    ),
    sending(
        "answer that is stored", "INVALID_FIELD", "send.answers: an answer is", answers="a", generation=1, setup_key="a"
    ),
    sending(
        "answer on an OPEN transport", "WRONG_GENERATION", "no transport of generation 1", answers="a", generation=1
    ),
    sending("max wait beyond a year", "INVALID_FIELD", "send.max_wait", payload=b"x", max_wait=Duration(seconds=10**9)),
    sending("setup key with a space", "INVALID_FIELD", "send.setup_key", payload=b"x", setup_key="a b"),
    sending(
        "key to forget with a space", "INVALID_FIELD", "send.forget_setup_keys: must match", forget_setup_keys=["a b"]
    ),
    sending(
        "too many keys to forget", "INVALID_FIELD", "more than limits.setup_steps, 3", forget_setup_keys=list("abcd")
    ),
    sending("wrong generation", "WRONG_GENERATION", "the command is for 7", payload=b"x", generation=7),
    sending(
        "stored setup beyond the bytes",
        "LIMIT_REACHED",
        "limits.setup_bytes are stored",
        payload=b"x" * 1025,
        setup_key="a",
    ),
    Wrong(
        "stored setup beyond the steps",
        refused("LIMIT_REACHED"),
        "limits.setup_steps are stored",
        Command(send=Send(payload=b"x", setup_key="d")),
        before=tuple(Command(channel=1, send=Send(payload=b"x", setup_key=key)) for key in "abc"),
    ),
    Wrong("ping payload too long", refused("INVALID_FIELD"), "ping.payload", Command(ping=Ping(payload=b"x" * 126))),
    Wrong("close code 1005", refused("INVALID_FIELD"), "close.code", Command(close=Close(code=1005))),
    Wrong("close reason too long", refused("INVALID_FIELD"), "close.reason", Command(close=Close(reason="x" * 124))),
)

NEVER_OPEN = Open(target=Target(url="{ws}/idle?fault=never_upgrade"))
NO_PONG = Open(target=Target(url="{ws}/idle?fault=no_pong"))
PATIENT = Duration(seconds=600)

# Sent on a channel that is not as it should be.
OF_STATE = (
    Wrong(
        "command on an unknown channel",
        refused("CHANNEL_UNKNOWN"),
        "channel: 9 is not open",
        Command(channel=9, ping=Ping()),
    ),
    Wrong(
        "Send by a reader",
        refused("NOT_OWNER"),
        "only the session's owner",
        Command(channel=2, send=Send(payload=b"x")),
        before=(Command(channel=2, join=Join(session="good")),),
    ),
    Wrong(
        "Send when not OPEN",
        refused("NOT_OPEN"),
        "the session is CONNECTING",
        Command(channel=2, send=Send(payload=b"x")),
        before=(Command(channel=2, open=NEVER_OPEN),),
    ),
    Wrong(
        "Send whose wait is over",
        refused("WAIT_EXPIRED"),
        "no OPEN transport within max_wait",
        Command(channel=2, send=Send(payload=b"x", max_wait=Duration(nanos=1_000_000))),
        before=(Command(channel=2, open=NEVER_OPEN),),
    ),
    Wrong(
        "Send into a full queue",
        refused("LIMIT_REACHED"),
        "limits.send_queue_bytes, 65536",
        Command(channel=2, send=Send(payload=b"x" * (64 << 10), max_wait=PATIENT)),
        before=(Command(channel=2, open=NEVER_OPEN),),
    ),
    Wrong(
        "Send when all queues together are full",
        refused("LIMIT_REACHED"),
        "limits.total_send_queue_bytes, 98304",
        Command(channel=3, send=Send(payload=b"x" * (50 << 10), max_wait=PATIENT)),
        before=(
            Command(channel=2, open=NEVER_OPEN),
            Command(channel=3, open=NEVER_OPEN),
            Command(channel=2, send=Send(payload=b"x" * (50 << 10), max_wait=PATIENT)),
        ),
    ),
    Wrong(
        "more pings than may wait for their pong",
        refused("LIMIT_REACHED"),
        "limits.unanswered_pings, 16",
        Command(channel=2, ping=Ping(payload=b"17")),
        before=(
            Command(channel=2, open=NO_PONG),
            *(Command(channel=2, ping=Ping(payload=b"%d" % n)) for n in range(16)),
        ),
    ),
)

# The session begins, and ends for good: what is wrong shows when it dials.
OF_DIAL = (
    Wrong(
        "host without an egress rule",
        "Ended EGRESS_DENIED",
        "no rule allows ws://exchange.invalid:80",
        Command(open=Open()),
        "ws://exchange.invalid/",
    ),
    Wrong(
        "port without an egress rule",
        "Ended EGRESS_DENIED",
        "no rule allows ws://127.0.0.1:1;",
        Command(open=Open()),
        "ws://127.0.0.1:1/",
    ),
    Wrong(
        "name of an address that is not public",
        "Ended EGRESS_DENIED",
        "an address of localhost is not public",
        Command(open=Open()),
        "ws://localhost/",
    ),
)

COMMANDS = OF_OPEN + OF_CHANNEL + OF_STATE + OF_DIAL + bad_sockets.OF_CHANNEL + bad_sockets.OF_DIAL
