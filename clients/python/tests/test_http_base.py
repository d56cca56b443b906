"""Requests to one exchange: a base URL, and headers that all have."""

import asyncio

import pytest

import fairlead
from tests.fake_gateway import FakeGateway
from tests.test_http import ask


@pytest.mark.parametrize(
    ("base", "path", "url"),
    [
        ("https://exchange", "/depth", "https://exchange/depth"),
        ("https://exchange/", "/depth", "https://exchange/depth"),
        ("https://exchange", "depth", "https://exchange/depth"),
        ("https://exchange/v3", "/depth?levels=5", "https://exchange/v3/depth?levels=5"),
        ("https://exchange/v3/", "depth", "https://exchange/v3/depth"),
        ("https://exchange/v3", "?x=https://other/", "https://exchange/v3?x=https://other/"),
        ("https://exchange/v3", "", "https://exchange/v3"),
        ("HTTP://exchange:8080", "/a", "HTTP://exchange:8080/a"),
        # None of these is another host.
        ("https://exchange", ".other/a", "https://exchange/.other/a"),
        ("https://exchange", "@other/a", "https://exchange/@other/a"),
        ("https://exchange", ":81/a", "https://exchange/:81/a"),
        ("https://exchange", "//other/a", "https://exchange//other/a"),
        ("https://exchange", "/https://other/a", "https://exchange/https://other/a"),
    ],
)
async def test_a_path_is_appended(fake: FakeGateway, gateway: fairlead.Gateway, base: str, path: str, url: str) -> None:
    request, reply = await ask(fake, gateway.http.at(base).get(path, params={"a": 1}), status=404)
    assert request.url == url
    assert [(each.key, each.value) for each in request.query] == [("a", "1")]
    with pytest.raises(fairlead.HttpStatusError, match="404"):
        reply.raise_for_status()


async def test_headers_are_sent_with_each_request_unless_it_has_its_own(
    fake: FakeGateway, gateway: fairlead.Gateway
) -> None:
    api = gateway.http.at("https://exchange", headers=[("X-Key", "k"), ("Accept", "a"), ("Accept", "b")])

    async def sent(headers: fairlead.options.Headers, **more: object) -> list[tuple[str, str]]:
        request, _ = await ask(fake, api.post("/order", headers=headers, **more))  # type: ignore[arg-type]
        return [(field.name, field.value) for field in request.headers]

    assert await sent(()) == [("X-Key", "k"), ("Accept", "a"), ("Accept", "b")]
    assert await sent({"X-Sign": "s", "ACCEPT": "c"}) == [("X-Key", "k"), ("X-Sign", "s"), ("ACCEPT", "c")]
    assert await sent((pair for pair in [("x-key", "1"), ("x-key", "2")]), json={}) == [
        ("Accept", "a"),
        ("Accept", "b"),
        ("x-key", "1"),
        ("x-key", "2"),
        ("Content-Type", "application/json"),
    ]


async def test_bases_go_on_from_bases_and_leave_them_as_they_are(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    api = gateway.http.at("https://exchange/v3", headers={"X-Key": "k", "A": "b"})
    orders = api.at("/orders", headers={"a": "c"})
    request, _ = await ask(fake, orders.get("/7"))
    assert request.url == "https://exchange/v3/orders/7"
    assert [(field.name, field.value) for field in request.headers] == [("X-Key", "k"), ("a", "c")]
    request, _ = await ask(fake, api.get("/depth"))
    assert request.url == "https://exchange/v3/depth"
    assert [(field.name, field.value) for field in request.headers] == [("X-Key", "k"), ("A", "b")]
    request, _ = await ask(fake, gateway.http.get("https://other/"))
    assert (request.url, list(request.headers)) == ("https://other/", [])


@pytest.mark.parametrize(
    "base",
    [
        "exchange",
        "/v3",
        "ftp://exchange",
        "",
        "https://",
        "https:///v3",
        "https://exchange/?a=b",
        "https://e#f",
        "https://e?a",
    ],
)
async def test_a_base_that_cannot_be_is_refused(gateway: fairlead.Gateway, base: str) -> None:
    with pytest.raises(ValueError, match=r"^base_url: "):
        gateway.http.at(base)


async def test_a_whole_url_is_refused(fake: FakeGateway, gateway: fairlead.Gateway) -> None:
    """The headers may hold a key that is for the base's host alone."""
    api = gateway.http.at("https://exchange", headers={"X-Key": "k"})
    for url in ("https://other/", "HTTP://exchange/"):
        with pytest.raises(ValueError, match=r"^url: "):
            await api.get(url)
        with pytest.raises(ValueError, match=r"^url: "):
            api.at(url)
    asking = asyncio.create_task(api.get("/"))
    call = await fake.http_call()
    assert call.request.url == "https://exchange/"
    call.reply()
    await asking
