"""Which server files no test mirrors. A list to look at, not a failure: some are seen through others' tests."""

from pathlib import Path

from tests.lint.sources import select


def without_test(root: Path) -> list[str]:
    """Lists each server/FLOOR/NAME.cc with neither tests/unit/FLOOR/NAME_test.cc nor tests/integration/NAME_test.cc."""
    tests = set(select(root, "tests", ".cc"))
    names = {path.name for path in tests if path.is_relative_to("tests/integration")}
    missing = []
    for source in select(root, "server", ".cc"):
        name = f"{source.stem}_test.cc"
        if Path("tests/unit", *source.parts[1:-1], name) not in tests and name not in names and source.stem != "main":
            missing.append(str(source))
    return missing
