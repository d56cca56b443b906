"""Places that mean something on one machine only: the paths of whoever wrote a file, and hosts of package registries.

Each pattern has a character class in it, so that it does not find itself.
"""

import re
from pathlib import Path

from tests.lint.sources import tracked

PLACES = (
    (re.compile(r"(?<![\w.])/roo[t]\b"), "a path of one machine"),
    (re.compile(r"(?<![\w./])/hom[e]/\w"), "a path of one machine"),
    (re.compile(r"(?<![\w./])/User[s]/\w"), "a path of one machine"),
    (re.compile(r"(?<![\w./}])/wor[k]/\w"), "a path of one machine"),
    (re.compile(r"\b(?:test\.)?pyp[i]\.org\b|\bfiles\.pythonhoste[d]\.org\b"), "a registry's host"),
    (re.compile(r"\bproxy\.golan[g]\.org\b|\bsum\.golan[g]\.org\b"), "a registry's host"),
    (re.compile(r"\bregistry\.npmj[s]\.org\b|\bindex\.crate[s]\.io\b|\bstatic\.crate[s]\.io\b"), "a registry's host"),
    (re.compile(r"\b(?:ghc[r]|qua[y]|gc[r]|docke[r])\.io\b"), "a registry's host"),
    (re.compile(r"\b(?:deb|security|snapshot)\.debia[n]\.org\b"), "a registry's host"),
)


def complaints(root: Path) -> list[str]:
    here = str(root.resolve())
    found: list[str] = []
    for path in tracked(root):
        try:
            lines = (root / path).read_text().splitlines()
        except UnicodeDecodeError:
            continue
        for number, line in enumerate(lines, 1):
            # A checkout may lie at a path so short ("/src") that it means nothing.
            if here.count("/") > 1 and here in line:
                found.append(f"{path}:{number}: the path of this checkout: {here}")
            found += [f"{path}:{number}: {what}: {match[0]}" for place, what in PLACES if (match := place.search(line))]
    return found
