"""The list of security cases in docs/security.md is the list of tests that are named after them."""

import re
from pathlib import Path

from tests.e2e.processes import ROOT

CASES = range(1, 36)
# Their tests are elsewhere, under names of their own.
NAMED_OTHERWISE = {1, 2, 3, 4, 5, 8, 9, 10, 11, 12}

DEFINITION = re.compile(r"^(?:async )?def (test_\w+)\(", re.MULTILINE)


def defined() -> dict[str, Path]:
    """Every end-to-end test, and its file."""
    return {
        name: path.relative_to(ROOT)
        for path in sorted((ROOT / "tests/e2e").rglob("test_*.py"))
        for name in DEFINITION.findall(path.read_text())
    }


def case_of(name: str) -> int:
    number = re.match(r"test_case_(\d+)_\w", name)
    return int(number[1]) if number else 0


def documented() -> dict[int, set[str]]:
    """Each case of the page, and the tests that it names."""
    page = (ROOT / "docs/security.md").read_text()
    section = page.partition("\n## Cases\n")[2].partition("\n## ")[0]
    rows: dict[int, set[str]] = {}
    for row in section.splitlines():
        cells = [cell.strip() for cell in row.strip("|").split("|")]
        if cells[0].isdigit():
            assert int(cells[0]) not in rows, f"case {cells[0]} is there twice"
            rows[int(cells[0])] = set(re.findall(r"`(\w+)`", cells[-1]))
    return rows


def test_each_case_has_a_test_named_after_it() -> None:
    named = {case_of(name) for name in defined()} - {0}
    assert named == set(CASES) - NAMED_OTHERWISE


def test_the_page_lists_the_tests() -> None:
    page, existing = documented(), defined()
    assert set(page) == set(CASES)
    for case, listed in page.items():
        assert listed <= set(existing), f"case {case}"
        assert listed >= {name for name in existing if case_of(name) == case}, f"case {case}"
        assert listed, f"case {case}"
