"""grpcurl, which knows nothing of Fairlead but what reflection tells: what people use to look and to try."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

import fairlead
from tests.e2e.conftest import StartGateway
from tests.e2e.processes import PATIENCE_S, ROOT, Exchange, Gateway, eventually

GRPCURL = ROOT / "build/tools/grpcurl"
SERVICE = "fairlead.v1.SessionService"

if not GRPCURL.exists() and not os.environ.get("CI"):
    pytest.skip(f"{GRPCURL} is not built: run `make setup`", allow_module_level=True)


class Run:
    """One run of grpcurl: commands go to standard input, messages come out as JSON."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.status = 0
        self.errors = ""
        self._text = ""
        self._events: list[dict[str, Any]] = []

    def say(self, **message: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")

    def half_close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()

    async def message(self) -> dict[str, Any]:
        """The next message; messages follow each other without a separator."""
        assert self.process.stdout is not None
        while True:
            text = self._text.lstrip()
            try:
                message, end = json.JSONDecoder().raw_decode(text)
            except json.JSONDecodeError:
                more = await asyncio.wait_for(self.process.stdout.read(65536), PATIENCE_S)
                assert more, f"grpcurl ended: {text} {self.errors}"
                self._text = text + more.decode()
            else:
                self._text = text[end:]
                assert isinstance(message, dict)
                return message

    async def event(self, kind: str, fits: Callable[[dict[str, Any]], bool] = lambda event: True) -> dict[str, Any]:
        """Takes the first event of an Attach stream that is of this kind and fits; others stay where they are."""
        begin = 0
        while True:
            for at in range(begin, len(self._events)):
                if kind in self._events[at] and fits(self._events[at][kind]):
                    found: dict[str, Any] = self._events.pop(at)[kind]
                    return found
            begin = len(self._events)
            self._events += (await self.message())["events"]

    async def end(self) -> int:
        async with asyncio.timeout(PATIENCE_S):
            rest, errors = await self.process.communicate()
        self._text += rest.decode()
        self.errors = errors.decode()
        self.status = self.process.returncode or 0
        return self.status


@asynccontextmanager
async def grpcurl(gateway: Gateway, *arguments: str) -> AsyncIterator[Run]:
    where = ["-unix", str(gateway.unix)]
    at = next((place for place, word in enumerate(arguments) if not word.startswith("-")), 0)
    flags = list(arguments[:at])
    # Flags that take a value come in one word here, as in -d={}.
    process = await asyncio.create_subprocess_exec(
        GRPCURL,
        "-plaintext",
        *flags,
        *where,
        *arguments[at:],
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    run = Run(process)
    try:
        yield run
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def call(gateway: Gateway, *arguments: str, status: int = 0) -> str:
    """Runs it to its end; returns what it said, errors too."""
    async with grpcurl(gateway, *arguments) as run:
        run.half_close()
        assert await run.end() == status, run.errors
        return run._text + run.errors


async def ask(gateway: Gateway, method: str, **request: Any) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(await call(gateway, f"-d={json.dumps(request)}", f"{SERVICE}/{method}"))
    return answer


# ---- What is there. ----


async def test_list_and_describe(gateway: Gateway) -> None:
    services = (await call(gateway, "list")).split()
    assert {SERVICE, "grpc.health.v1.Health"} <= set(services)
    methods = (await call(gateway, "list", SERVICE)).split()
    assert methods == [f"{SERVICE}.{name}" for name in ("Attach", "CloseSession", "GetSession", "ListSessions", "Tail")]
    assert "rpc Attach ( stream .fairlead.v1.AttachRequest )" in await call(gateway, "describe", SERVICE)
    assert "repeated .fairlead.v1.SetupStep setup = 8;" in await call(gateway, "describe", "fairlead.v1.Open")
    # Over TCP it is the same.
    for service in services:
        await call(gateway, "describe", service)


async def test_without_reflection(start_gateway: StartGateway) -> None:
    gateway = start_gateway({"reflection": False})
    assert "does not support the reflection API" in await call(gateway, "list", status=1)


async def test_channelz(start_gateway: StartGateway) -> None:
    """From servers through their connections to one of them; reflection describes it."""
    gateway = start_gateway({"channelz": True})
    channelz = "grpc.channelz.v1.Channelz"
    assert {channelz, SERVICE} <= set((await call(gateway, "list")).split())
    assert f"{channelz}.GetServerSockets" in await call(gateway, "list", channelz)

    async def look(method: str, **request: Any) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(await call(gateway, f"-d={json.dumps(request)}", f"{channelz}/{method}"))
        return answer

    async with fairlead.connect(gateway.grpc) as client:
        await client.sessions()
        servers = (await look("GetServers"))["server"]
        assert len(servers) == 2, "one a listener"
        calls = [int(server["data"].get("calls_started", 0)) for server in servers]
        assert calls[0] > 0, "those of grpcurl"
        assert calls[1] > 0, "those of the client, over TCP"
        sockets = (await look("GetServerSockets", server_id=servers[1]["ref"]["server_id"]))["socket_ref"]
        assert len(sockets) == 1
        socket = (await look("GetSocket", socket_id=sockets[0]["socket_id"]))["socket"]
        assert socket["data"]["streams_started"] == str(calls[1]), "all came by its one connection"
        assert sockets[0]["name"].startswith("chttp2 ipv4:127.0.0.1:"), "the client's address"


async def test_health(gateway: Gateway) -> None:
    assert json.loads(await call(gateway, "grpc.health.v1.Health/Check")) == {"status": "SERVING"}
    async with grpcurl(gateway, "grpc.health.v1.Health/Watch") as watch:
        watch.half_close()
        assert await watch.message() == {"status": "SERVING"}


# ---- A session by hand. ----


async def test_attach(gateway: Gateway, exchange: Exchange) -> None:
    """Commands on standard input, one after the other; a half-close ends them, and not the delivery."""
    async with grpcurl(gateway, "-d=@", f"{SERVICE}/Attach") as run:
        target = {"url": f"{exchange.wss}/echo", "headers": [{"name": "X-Who", "value": "a person"}]}
        run.say(commands=[{"channel": 1, "open": {"session": "by-hand", "target": target}}])
        attached = await run.event("attached")
        assert (attached["session"], attached["start"]) == ("by-hand", "START_OUTCOME_NEW")
        await run.event("state_changed", lambda change: change["state"] == "SESSION_STATE_OPEN")
        # "aGVsbG8=" is "hello".
        run.say(commands=[{"channel": 1, "id": 7, "send": {"payload": "aGVsbG8="}}])
        result = await run.event("command_result", lambda result: result["id"] == "7")
        assert result["outcome"] == "OUTCOME_WRITTEN"
        batch = await run.event("batch")
        assert batch["payloads"] == ["aGVsbG8="]
        assert batch["runs"][0]["kind"] == "FRAME_KIND_TEXT"

        run.half_close()
        await exchange.send(text="after the half-close")
        assert (await run.event("batch"))["payloads"] == ["YWZ0ZXIgdGhlIGhhbGYtY2xvc2U="]
        await ask(gateway, "CloseSession", session="by-hand")
        ended = await run.event("ended")
        assert (ended["cause"]["reason"], ended["session_closed"]) == ("REASON_CLOSED", True)
        assert await run.end() == 0
    record = await exchange.connection()
    assert ["X-Who", "a person"] in record["headers"]
    assert record["close_code_received"] == 1000


async def test_refused_command(gateway: Gateway, exchange: Exchange) -> None:
    """A wrong command is answered on the stream, readably; the stream goes on."""
    async with grpcurl(gateway, "-d=@", f"{SERVICE}/Attach") as run:
        run.say(commands=[{"channel": 1, "id": 1, "open": {"target": {"url": "wss://u:p@host/"}}}])
        failure = (await run.event("command_result"))["failure"]
        assert (failure["reason"], failure["phase"]) == ("REASON_INVALID_FIELD", "PHASE_NOT_SENT")
        assert "target.url" in failure["message"]
        run.say(commands=[{"channel": 1, "open": {"target": {"url": f"{exchange.ws}/idle"}}}])
        await run.event("state_changed", lambda change: change["state"] == "SESSION_STATE_OPEN")


# ---- Looking. ----


async def test_tail(gateway: Gateway, client: fairlead.Gateway, exchange: Exchange) -> None:
    async with client.websocket(f"{exchange.ws}/echo", name="watched") as session:
        await session.send("a text")
        await session.send(b"\x00\xff")

        async def echoed() -> bool:
            return (await client.session("watched")).received_frames == 2

        await eventually(echoed, "both frames are there")
        said = await call(
            gateway,
            f"-d={json.dumps({'session': 'watched', 'start': {'oldest': {}}, 'max_entries': 7})}",
            f"{SERVICE}/Tail",
        )
        entries = parse_all(said)
        assert [int(entry["sequence"]) for entry in entries] == list(range(1, 8))
        assert [entry["state_changed"]["state"] for entry in entries[:3]] == [
            f"SESSION_STATE_{name}" for name in ("CONNECTING", "OPENING", "OPEN")
        ]
        assert all("receive_time" in entry for entry in entries)
        assert {entry["text"] for entry in entries if "text" in entry} == {"a text"}
        assert {entry["binary"] for entry in entries if "binary" in entry} == {"AP8="}
        assert [entry["command_result"]["outcome"] for entry in entries if "command_result" in entry] == [
            "OUTCOME_WRITTEN"
        ] * 2


def parse_all(text: str) -> list[dict[str, Any]]:
    messages = []
    text = text.strip()
    while text:
        message, end = json.JSONDecoder().raw_decode(text)
        messages.append(message)
        text = text[end:].strip()
    return messages


async def test_tail_to_the_end(gateway: Gateway, client: fairlead.Gateway, exchange: Exchange) -> None:
    """From HEAD, only what comes; then why it ended. A watcher is a subscriber, but not one that commands."""
    async with (
        client.websocket(f"{exchange.ws}/idle", name="watched") as session,
        grpcurl(gateway, '-d={"session": "watched"}', f"{SERVICE}/Tail") as tail,
    ):
        tail.half_close()

        async def watched() -> bool:
            return len((await client.session("watched")).subscribers) == 2

        await eventually(watched, "the watcher is there")
        await exchange.send(text="news")
        assert (await tail.message())["text"] == "news"
        await session.close()
        assert (await tail.message())["state_changed"]["state"] == "SESSION_STATE_CLOSED"
        last = await tail.message()
        assert last["ended"]["cause"]["reason"] == "REASON_CLOSED"
        assert await tail.end() == 0


async def test_list_sessions_in_pages(gateway: Gateway, client: fairlead.Gateway, exchange: Exchange) -> None:
    names = [f"s{at}" for at in range(5)]
    sessions = [client.websocket(f"{exchange.ws}/idle?token=secret", name=name) for name in reversed(names)]
    for session in sessions:
        await session.open()
    pages = []
    token = ""
    while True:
        page = await ask(gateway, "ListSessions", page_size=2, page_token=token)
        pages.append([session["name"] for session in page["sessions"]])
        token = page.get("next_page_token", "")
        if not token:
            break
    assert pages == [["s0", "s1"], ["s2", "s3"], ["s4"]]
    assert [session["name"] for session in (await ask(gateway, "ListSessions"))["sessions"]] == names
    # Exactly as many as fit a page: there is no other.
    assert "next_page_token" not in await ask(gateway, "ListSessions", page_size=5)


async def test_get_session(gateway: Gateway, client: fairlead.Gateway, exchange: Exchange) -> None:
    setup = [fairlead.Step("login", "hi")]
    async with client.websocket(f"{exchange.ws}/echo?token=secret", name="md", setup=setup) as session:
        await session.send("hello")

        async def echoed() -> bool:
            return (await client.session("md")).received_frames == 2

        await eventually(echoed, "both echoes are there")
        found = (await ask(gateway, "GetSession", session="md"))["session"]
        assert found["url"] == f"{exchange.ws}/echo"
        assert (found["state"], found["generation"], found["epoch"]) == ("SESSION_STATE_OPEN", "1", session.epoch)
        assert (found["received_frames"], found["received_bytes"]) == ("2", "7")
        assert (found["sent_frames"], found["sent_bytes"]) == ("2", "7")
        assert (found["oldest_sequence"], found["head_sequence"]) == ("1", "6")
        # Three state changes, a result and two frames: payload and 64 bytes each.
        assert found["journal_bytes"] == str(6 * 64 + 7)
        assert found["setup_keys"] == ["login"]
        (subscriber,) = found["subscribers"]
        assert subscriber["owner"] is True
        assert "create_time" in found
        assert "last_failure" not in found


async def test_close_session(gateway: Gateway, client: fairlead.Gateway, exchange: Exchange) -> None:
    session = client.websocket(f"{exchange.ws}/idle", name="md")
    await session.open()
    assert await ask(gateway, "CloseSession", session="md") == {}
    # It answers when the session is CLOSED: nothing of it is left.
    assert await ask(gateway, "ListSessions") == {}
    with pytest.raises(fairlead.SessionEnded) as ended:
        async for _ in session:
            pass
    assert ended.value.reason is fairlead.Reason.CLOSED
    assert (await exchange.closed())["close_code_received"] == 1000


@pytest.mark.parametrize("method", ["GetSession", "CloseSession", "Tail"])
async def test_errors_show_their_failure(gateway: Gateway, method: str) -> None:
    said = await call(gateway, '-d={"session": "nobody"}', f"{SERVICE}/{method}", status=64 + 5)
    assert "Code: NotFound" in said
    assert '"@type": "type.googleapis.com/fairlead.v1.Failure"' in said
    assert '"reason": "REASON_SESSION_NOT_FOUND"' in said
    assert "nobody" in said


async def test_what_is_not_built_says_so(gateway: Gateway) -> None:
    said = await call(gateway, "-d={}", "fairlead.v1.QuotaService/ListQuotas", status=64 + 12)
    assert "Code: Unimplemented" in said
    assert '"reason": "REASON_NOT_IMPLEMENTED"' in said


# ---- HTTP. ----


async def test_send(gateway: Gateway, exchange: Exchange) -> None:
    request = {
        "method": "POST",
        "url": f"{exchange.https}/echo?a=1",
        "headers": [{"name": "X-Who", "value": "a person"}],
        "query": [{"key": "b", "value": "2 3"}],
        "body": "aGVsbG8=",
        "timeout": "5s",
    }
    said = await call(gateway, f"-d={json.dumps({'request': request})}", "fairlead.v1.HttpService/Send")
    response = json.loads(said)["response"]
    assert (response["status"], response["attempts"]) == (200, 1)
    assert {"name": "Content-Type", "value": "application/json"} in response["headers"]
    assert {"pool_wait", "connect", "tls", "first_byte", "total"} <= set(response["timing"])
    echo = json.loads(base64.b64decode(response["body"]))
    assert (echo["method"], echo["target"]) == ("POST", "/echo?a=1&b=2%203")
    assert ["X-Who", "a person"] in echo["headers"]
    assert base64.b64decode(echo["body_base64"]) == b"hello"


async def test_errors_of_send_show_their_phase(gateway: Gateway, exchange: Exchange) -> None:
    for request, status, reason, phase in (
        ({"method": "get", "url": exchange.http}, "InvalidArgument", "INVALID_FIELD", "NOT_SENT"),
        ({"method": "GET", "url": "http://127.0.0.1:1"}, "Unavailable", "CONNECT_FAILED", "NOT_SENT"),
        (
            {"method": "GET", "url": f"{exchange.http}/slow?ms=600000", "timeout": "0.2s"},
            "DeadlineExceeded",
            "REQUEST_TIMEOUT",
            "SENT_NO_REPLY",
        ),
        (
            {"method": "GET", "url": f"{exchange.http}/big?size=100", "max_response_bytes": 99},
            "ResourceExhausted",
            "RESPONSE_TOO_LONG",
            "REPLIED",
        ),
    ):
        async with grpcurl(gateway, f"-d={json.dumps({'request': request})}", "fairlead.v1.HttpService/Send") as run:
            run.half_close()
            assert await run.end() > 64, "grpcurl adds the status code to 64"
        assert f"Code: {status}" in run.errors
        assert f'"reason": "REASON_{reason}"' in run.errors
        assert f'"phase": "PHASE_{phase}"' in run.errors
