"""Which of several gateways a session belongs to: highest random weight, the same in every language.

docs/sharding.md tells it exactly, for adapters that do not use this client.
"""

from collections.abc import Iterable
from hashlib import sha256

# What is left out of an origin that has it, so that "https://host" and "https://host:443" are one.
_DEFAULT_PORTS = {"http": "80", "https": "443"}


def weight(key: str, shard: str) -> int:
    """Give the weight of a shard for a session's name or a request's origin: the highest wins.

    The first 8 bytes, most significant first, of SHA-256 over the shard's name, a zero byte, and the key, in UTF-8.
    """
    return int.from_bytes(sha256(shard.encode() + b"\0" + key.encode()).digest()[:8], "big")


def order(key: str, shards: Iterable[str]) -> list[str]:
    """Give the shards in the order in which a key tries them: its home first. Equal weights go by the shard's name.

    The order of `shards` does not matter; without one of them, the others keep theirs.
    """
    return sorted(shards, key=lambda shard: (-weight(key, shard), shard))


def origin(url: str) -> str:
    """Give the key of a request: scheme, host and port of its URL in lower case, the scheme's own port left out."""
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    end = min((at for at in map(rest.find, "/?#") if at >= 0), default=len(rest))
    authority = rest[:end].rpartition("@")[2].lower()
    host, colon, port = authority.rpartition(":")
    if colon and port in {"", _DEFAULT_PORTS.get(scheme)}:
        authority = host
    return f"{scheme}://{authority}"
