"""No field is ignored: each field of each request changes something that is observed here, or is refused by name.

The fields come from the descriptors, so that a new one fails until it has its place in one of the tables.
"""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from fairlead.v1 import http_pb2, quota_pb2, session_pb2, types_pb2
from tests.e2e import observed_commands, observed_http, observed_legs, observed_opens, observed_sockets
from tests.e2e.attach import Attachment, connected, status_of
from tests.e2e.bad_http import HTTP_CALLS
from tests.e2e.bad_requests import COMMANDS
from tests.e2e.conftest import StartGateway
from tests.e2e.observed import OBSERVED, Stage
from tests.e2e.processes import Exchange, Gateway
from tests.e2e.test_bad_input import configuration, good_session, make_wrong_call, send_wrong
from tests.e2e.wrong import Wrong

assert observed_opens
assert observed_legs
assert observed_sockets
assert observed_http
assert observed_commands, "importing them has filled OBSERVED"

# Refused where they are sent: which wrong request of the bad input table sends the field.
REFUSED = {
    "Open.connect_charges": "connect charges",
    "Open.profile": "connection profile",
    "SetupStep.charges": "setup step with charges",
    "Answer.key": "Answer to a setup step",
    "Send.charges": "Send with charges",
    "Send.permit": "Send with a permit",
    "QuotaCharge.key": "Send with charges",
    "QuotaCharge.weight": "Send with charges",
}
WRONG = {wrong.name: wrong for wrong in COMMANDS}

# The same, of HttpService.Send.
REFUSED_OF_HTTP = {
    "HttpRequest.charges": "HTTP request with charges",
    "HttpRequest.permit": "HTTP request with a permit",
    "HttpRequest.idempotency": "HTTP request with an idempotency",
    "HttpRequest.profile": "HTTP request with a profile",
}
WRONG_OF_HTTP = {wrong.name: wrong for wrong in HTTP_CALLS}

SESSIONS = session_pb2.DESCRIPTOR.services_by_name["SessionService"]
HTTP = http_pb2.DESCRIPTOR.services_by_name["HttpService"]
QUOTAS = quota_pb2.DESCRIPTOR.services_by_name["QuotaService"]
# What this version does, and the methods that it refuses whole.
NOW = [*SESSIONS.methods, HTTP.methods_by_name["Send"]]
LATER = [method for service in (HTTP, QUOTAS) for method in service.methods if method not in NOW]


def name_of(field: FieldDescriptor) -> str:
    assert field.containing_type is not None
    return f"{field.containing_type.name}.{field.name}"


def walk(message: Descriptor, seen: set[str]) -> Iterator[FieldDescriptor]:
    if message.full_name in seen or not message.full_name.startswith("fairlead."):
        return
    seen.add(message.full_name)
    for field in message.fields:
        yield field
        if field.message_type is not None:
            yield from walk(field.message_type, seen)


def fields() -> dict[str, FieldDescriptor]:
    """Every field that a caller can set."""
    seen: set[str] = set()
    return {name_of(field): field for method in NOW for field in walk(method.input_type, seen)}


def requests_of_later_methods() -> list[tuple[str, Message]]:
    """Each method with each field, at any depth, set alone."""
    return [
        (f"/{method.containing_service.full_name}/{method.name}", request)
        for method in LATER
        for request in each_field_alone(method.input_type)
    ]


def each_field_alone(message: Descriptor) -> Iterator[Message]:
    for field in message.fields:
        values = [sample(field)]
        if field.message_type is not None and field.message_type.full_name.startswith("fairlead."):
            values = list(each_field_alone(field.message_type))
        for value in values:
            yield GetMessageClass(message)(**{field.name: [value] if field.is_repeated else value})


def sample(field: FieldDescriptor) -> Any:
    if field.message_type is not None:
        return GetMessageClass(field.message_type)()
    return {field.CPPTYPE_STRING: b"x" if field.type == field.TYPE_BYTES else "x"}.get(field.cpp_type, 1)


def test_every_field_has_its_place() -> None:
    refused = set(REFUSED) | set(REFUSED_OF_HTTP)
    assert set(fields()) == set(OBSERVED) | refused
    assert not set(OBSERVED) & refused
    assert len(fields()) > 95


def test_every_service_has_its_place() -> None:
    services = {
        service.name
        for file in (http_pb2, quota_pb2, session_pb2, types_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    }
    assert services == {service.name for service in (SESSIONS, HTTP, QUOTAS)}


@pytest.mark.parametrize("field", sorted(OBSERVED))
async def test_observed(gateway: Gateway, exchange: Exchange, field: str) -> None:
    async with connected(gateway.address) as channel:
        await OBSERVED[field](Stage(exchange, channel, Attachment(channel)))


@pytest.mark.parametrize("field", sorted(REFUSED))
async def test_refused(start_gateway: StartGateway, exchange: Exchange, field: str) -> None:
    gateway = start_gateway(configuration(exchange))
    wrong = carrying(field, WRONG[REFUSED[field]])
    name = field.split(".")[1]
    parent = {"SetTarget": "set_target", "Answer": "answer", "QuotaCharge": "charges"}.get(field.split(".")[0])
    assert (parent or name) in wrong.says, "the field is refused by its name, or with the message that it is part of"
    async with good_session(gateway, exchange) as place:
        await send_wrong(wrong, place, exchange)


@pytest.mark.parametrize("field", sorted(REFUSED_OF_HTTP))
async def test_refused_of_http(start_gateway: StartGateway, exchange: Exchange, field: str) -> None:
    gateway = start_gateway(configuration(exchange))
    wrong = WRONG_OF_HTTP[REFUSED_OF_HTTP[field]]
    assert field.split(".")[1] in wrong.says, "the field is refused by its name"
    async with good_session(gateway, exchange) as place:
        await make_wrong_call(wrong, place)


def carrying(field: str, wrong: Wrong) -> Wrong:
    """The wrong request, with no other field of the message than this one where the message is refused whole."""
    message, name = field.split(".")
    value = sample(fields()[field])
    command = session_pb2.Command()
    if message == "SetTarget":
        command.set_target.target.CopyFrom(value)
    elif message == "Answer" and name == "key":
        command.answer.key = value
    elif message == "Answer":
        command.answer.target.CopyFrom(value)
    elif message == "QuotaCharge":
        command.send.charges.add(**{name: value})
    else:
        return wrong
    return Wrong(wrong.name, wrong.answer, wrong.says, command)


async def test_later_methods_refuse_every_field(gateway: Gateway) -> None:
    async with connected(gateway.address) as channel:
        for method, request in requests_of_later_methods():
            call: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method)
            status = await status_of(call(request.SerializeToString()))
            assert status.code is grpc.StatusCode.UNIMPLEMENTED, f"{method} {request}"
            assert status.failure is not None
            assert status.failure.reason == types_pb2.REASON_NOT_IMPLEMENTED
            assert method.removeprefix("/fairlead.v1.").replace("/", ".") in status.failure.message
