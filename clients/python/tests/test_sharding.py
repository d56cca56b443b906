"""The hash that places sessions and requests: adapters in other languages must agree on each value here."""

import random
import subprocess
import sys
from collections import Counter

import pytest

from fairlead import sharding

SHARDS = ["gw-0:7070", "gw-1:7070", "gw-2:7070"]
NAMES = [f"venue-{number}.md" for number in range(10_000)]


@pytest.mark.parametrize(
    ("key", "shard", "weight"),
    [
        ("md", "gw-0:7070", 9642357784443376355),
        ("md", "gw-1:7070", 8851092272834629919),
        ("md", "gw-2:7070", 7260822490243855928),
        ("orders", "gw-0:7070", 11062814913568001978),
        ("https://api.example.com", "gw-0:7070", 5739263741353149036),
        ("métier", "gw-é", 15304508057338054767),
    ],
)
def test_weights_are_these_for_ever(key: str, shard: str, weight: int) -> None:
    assert sharding.weight(key, shard) == weight


@pytest.mark.parametrize(
    ("key", "order"),
    [
        ("md", [0, 1, 2]),
        ("orders", [0, 2, 1]),
        ("binance.btcusdt", [1, 0, 2]),
        ("https://api.example.com", [2, 1, 0]),
    ],
)
def test_orders_are_these_for_ever(key: str, order: list[int]) -> None:
    assert sharding.order(key, SHARDS) == [SHARDS[index] for index in order]


@pytest.mark.parametrize("count", [2, 3, 5, 8])
def test_each_shard_gets_its_part(count: int) -> None:
    """Of 10,000 names each shard's part is within 10 % of even: more than three standard deviations of chance."""
    homes = Counter(sharding.order(name, [f"gw-{number}:7070" for number in range(count)])[0] for name in NAMES)
    even = len(NAMES) / count
    assert len(homes) == count
    assert all(abs(homes[shard] - even) <= 0.1 * even for shard in homes), homes


@pytest.mark.parametrize("gone", SHARDS)
def test_without_a_shard_only_its_sessions_move(gone: str) -> None:
    left = [shard for shard in SHARDS if shard != gone]
    moved = Counter[str]()
    for name in NAMES:
        before, after = sharding.order(name, SHARDS), sharding.order(name, left)
        assert after == [shard for shard in before if shard != gone]
        if before[0] == gone:
            moved[after[0]] += 1
    # And they are shared out among the others.
    assert set(moved) == set(left)
    assert max(moved.values()) <= 1.2 * min(moved.values()), moved


def test_another_shard_takes_only_what_it_gets() -> None:
    more = [*SHARDS, "gw-3:7070"]
    moved = [name for name in NAMES if sharding.order(name, more)[0] != sharding.order(name, SHARDS)[0]]
    assert {sharding.order(name, more)[0] for name in moved} == {"gw-3:7070"}
    assert len(moved) == pytest.approx(len(NAMES) / 4, rel=0.1)


def test_the_order_in_which_shards_are_given_is_nothing() -> None:
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # noqa: T201
    shuffled = random.Random(seed).sample(SHARDS, len(SHARDS))
    assert all(sharding.order(name, shuffled) == sharding.order(name, SHARDS) for name in NAMES[:1000])


def test_equal_weights_go_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharding, "weight", lambda key, shard: 1)
    assert sharding.order("md", ["b", "c", "a"]) == ["a", "b", "c"]


def test_another_process_says_the_same() -> None:
    """Also with other seeds of Python's own hash."""
    program = f"from fairlead import sharding; print([sharding.order(str(n), {SHARDS}) for n in range(100)])"
    for seed in ("0", "1"):
        said = subprocess.run(  # noqa: S603
            [sys.executable, "-c", program],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert said.strip() == str([sharding.order(str(number), SHARDS) for number in range(100)])


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://api.example.com/order?id=1", "https://api.example.com"),
        ("HTTPS://API.Example.COM:443", "https://api.example.com"),
        ("https://api.example.com:", "https://api.example.com"),
        ("https://api.example.com:8443/a:443/", "https://api.example.com:8443"),
        ("http://api.example.com:80?x=/", "http://api.example.com"),
        ("http://api.example.com:443#/", "http://api.example.com:443"),
        ("http://me:secret@host/", "http://host"),
        ("https://[::1]/x", "https://[::1]"),
        ("https://[::1]:443/x", "https://[::1]"),
        ("no url", "no url://"),
    ],
)
def test_origins(url: str, origin: str) -> None:
    assert sharding.origin(url) == origin
