"""Executes every block of README.md, and of the pages that ask for it, against the built tree."""

import os
from pathlib import Path

import pytest

from tests.docs.blocks import blocks_of, matches, pages
from tests.docs.shell import BlockError, Shell

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("FAIRLEAD_BUILD", "build/release")


@pytest.mark.parametrize("page", pages(ROOT), ids=lambda page: str(page.relative_to(ROOT)))
def test_page(page: Path, tmp_path: Path) -> None:
    assert (BUILD / "fairlead").exists(), f"{BUILD}/fairlead is not built: run `make build`"
    blocks = blocks_of(page.read_text())
    assert blocks, f"{page.name} has no block to execute"
    path = [ROOT / "build/venv/bin", ROOT / "build/tools", BUILD]
    with Shell(ROOT, tmp_path, path) as shell:
        for block in blocks:
            if block.not_run:
                print(f"line {block.line}: not run: {block.not_run}")
                continue
            printed = shell.run(block)
            if block.output is not None and not matches(block.output, printed):
                raise BlockError(
                    f"line {block.line}: the block printed something else\n"
                    f"--- claimed\n{block.output}--- printed\n{printed}"
                )
