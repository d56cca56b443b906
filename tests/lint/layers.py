"""The floors of the house: who may include whom, and which libraries stay on which floor.

Read from the text, not from the compiler: an include that an #if hides counts as well.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.lint.sources import select

BELOW_NET = frozenset({"base", "policy"})
BELOW_ENGINES = BELOW_NET | {"net"}
BELOW_ADAPTERS = BELOW_ENGINES | {"session", "http"}

MAY_INCLUDE = {
    "base": frozenset({"base"}),
    "policy": BELOW_NET,
    "net": BELOW_ENGINES,
    "session": BELOW_ENGINES | {"session"},
    "http": BELOW_ENGINES | {"http"},
    "rpc": BELOW_ADAPTERS | {"rpc"},
    "ops": BELOW_ADAPTERS | {"ops"},
    "config": BELOW_NET | {"config"},
    "reload": BELOW_ENGINES | {"config", "reload"},
    "main": BELOW_ADAPTERS | {"rpc", "ops", "config", "reload"},
}

INCLUDE = re.compile(r'^\s*#\s*include\s*(?:<(?P<system>[^>]+)>|"(?P<own>[^"]+)")')
COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
TLS_STREAM = re.compile(r"ssl::stream\b")
MAKERS = re.compile(r"(?:make_unique|make_shared|make_optional|optional|in_place_type|construct_at)\s*<[\w:\s]*$")


def complaints(root: Path) -> list[str]:
    """Checks all of server/."""
    found: list[str] = []
    for path in select(root, "server", ".h", ".cc"):
        text = (root / path).read_text()
        found += [f"{path}:{line}: {what}" for line, what in _includes(path, text)]
        found += [f"{path}:{line}: {what}" for line, what in _tls_streams(path, text)]
    return found


def floor_of(path: Path) -> str:
    """The folder below server/, or "config" or "main" for the files that lie in server/ itself."""
    parts = path.parts[1:]
    return parts[0] if len(parts) > 1 else re.split(r"[._]", parts[0])[0]


def _includes(path: Path, text: str) -> Iterator[tuple[int, str]]:
    floor = floor_of(path)
    allowed = MAY_INCLUDE.get(floor)
    if allowed is None:
        yield 1, f"'{floor}' is no floor that tests/lint/layers.py knows"
        return
    for line, content in enumerate(text.splitlines(), 1):
        match = INCLUDE.match(content)
        if not match:
            continue
        name = match["system"] or match["own"]
        yield from ((line, what) for what in _libraries(path, floor, name))
        if match["own"] and not name.startswith(("fairlead/", "google/", "grpc")):
            other = floor_of(Path("server") / name)
            if other not in MAY_INCLUDE:
                yield line, f'"{name}" names no floor: include from server/, as in "net/dial.h"'
            elif other not in allowed:
                yield line, f"{floor} must not include {other}: {name}"


def _libraries(path: Path, floor: str, name: str) -> Iterator[str]:
    if name.startswith("boost/") and floor in BELOW_NET:
        url = name.startswith(("boost/url/", "boost/url.hpp"))
        if not (url and floor == "policy" and path.suffix == ".cc"):
            yield f"{floor} decides and does no I/O: only Boost.URL, and only in policy's .cc files, not {name}"
    if name.startswith(("grpcpp/", "grpc++/", "grpc/", "fairlead/v1/")) and floor not in ("rpc", "main"):
        yield f"gRPC and the API stay in rpc and main.cc: {name}"
    if name.startswith("fairlead/config/") and floor != "config":
        yield f"config.proto stays in config: {name}"


def _tls_streams(path: Path, text: str) -> Iterator[tuple[int, str]]:
    """One factory makes every outbound TLS stream, so that none is made without verification."""
    floor = floor_of(path)
    if floor == "net" and re.match(r"(dial|tls)(_|\.)", path.name):
        return
    code = COMMENT.sub(lambda comment: re.sub(r"[^\n]", " ", comment[0]), text)
    for match in TLS_STREAM.finditer(code):
        line = code.count("\n", 0, match.start()) + 1
        if floor != "net":
            yield line, "ssl::stream stays in net"
        elif _constructs(code, match):
            yield line, "an ssl::stream is constructed only in net/dial and net/tls"


def _constructs(code: str, match: re.Match[str]) -> bool:
    """Whether the type at match makes an object from arguments, rather than being an alias, a reference or a member."""
    if MAKERS.search(code[: match.start()]):
        return True
    rest = code[match.end() :]
    depth = 0
    for position, letter in enumerate(rest):
        depth += (letter == "<") - (letter == ">")
        if depth == 0 and letter == ">":
            return re.match(r">\s*(?:\w+\s*)?(?:\(\s*[^)\s]|\{\s*[^}\s])", rest[position:]) is not None
    return False
