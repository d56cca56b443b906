"""Words that say nothing, refused as names of files and of types."""

import re
from collections.abc import Iterator
from pathlib import Path

from tests.lint.sources import tracked

EMPTY_WORDS = frozenset({"manager", "managers", "handler", "handlers", "util", "utils", "helper", "helpers"})
# Alone they say nothing; as a part ("HTTP status info") they are someone else's term.
EMPTY_ALONE = EMPTY_WORDS | {"data", "info"}

TYPES = {
    ".h": re.compile(
        r"^\s*(?:class|struct|enum\s+class|enum|concept|union|namespace|using)\s+(?:\[\[\w+\]\]\s*)?(\w+)"
    ),
    ".py": re.compile(r"^\s*class\s+(\w+)"),
    ".proto": re.compile(r"^\s*(?:message|service|enum)\s+(\w+)"),
}
TYPES[".cc"] = TYPES[".h"]


def words(name: str) -> list[str]:
    """Splits snake_case and CamelCase: "HTTPHandler_v2" -> http, handler, v2."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+|[0-9]+", name)]


def complaints(root: Path) -> list[str]:
    found: list[str] = []
    for path in tracked(root):
        for part in path.with_suffix("").parts:
            found += [f"{path}: '{part}' says nothing ({word})" for word in _empty(part)]
        if path.suffix in TYPES:
            for number, line in enumerate((root / path).read_text().splitlines(), 1):
                match = TYPES[path.suffix].match(line)
                if match:
                    found += [f"{path}:{number}: '{match[1]}' says nothing ({word})" for word in _empty(match[1])]
    return found


def _empty(name: str) -> Iterator[str]:
    parts = words(name)
    refused = EMPTY_ALONE if len(parts) == 1 else EMPTY_WORDS
    yield from (word for word in parts if word in refused)
