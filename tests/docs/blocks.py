"""What a Markdown page claims: its fenced blocks, and what is said of each in the comment directly above it.

<!-- not run: installs packages -->      the block is not executed, and why; the reason is required
<!-- output -->                          above a ```text block: what the block before it printed, where `...` stands for
                                         anything within a line, and alone on a line for any number of lines
"""

import re
from dataclasses import dataclass, replace
from pathlib import Path

FENCE = re.compile(r"^(?P<indent> {0,3})(?P<ticks>`{3,}|~{3,})\s*(?P<language>[\w+-]*)[^`]*$")
COMMENT = re.compile(r"^\s*<!--\s*(?P<text>.*?)\s*-->\s*$")
RUN = ("sh", "python")


class PageError(Exception):
    """The page itself is wrong: a comment that nobody understands, an output that belongs to nothing."""


@dataclass(frozen=True)
class Block:
    """One block to execute."""

    line: int
    language: str
    text: str
    not_run: str | None = None
    output: str | None = None
    file: str | None = None


@dataclass(frozen=True)
class _Fenced:
    line: int
    language: str
    text: str
    comment: str


def blocks_of(page: str) -> list[Block]:
    """Lists the page's sh and python blocks in order, each with the output that the page claims for it."""
    blocks: list[Block] = []
    for fenced in _fenced(page):
        if fenced.comment == "output":
            if fenced.language != "text":
                raise PageError(f"line {fenced.line}: an output block is a ```text block")
            if not blocks or blocks[-1].output is not None:
                raise PageError(f"line {fenced.line}: there is no block before it that could have printed this")
            last = blocks.pop()
            blocks.append(replace(last, output=fenced.text))
        elif fenced.language in RUN:
            blocks.append(Block(fenced.line, fenced.language, fenced.text, _reason(fenced), file=_file(fenced)))
        elif fenced.language in ("bash", "shell", "console", "py", "python3"):
            raise PageError(f"line {fenced.line}: write ```sh or ```python, else the block would not be executed")
    return blocks


def _reason(fenced: _Fenced) -> str | None:
    if not fenced.comment.startswith("not run"):
        return None
    reason = fenced.comment.removeprefix("not run").lstrip(": ")
    if not reason:
        raise PageError(f"line {fenced.line}: a block that is not run needs a reason: <!-- not run: REASON -->")
    return reason


def _file(fenced: _Fenced) -> str | None:
    if not fenced.comment.startswith("file"):
        return None
    name = fenced.comment.removeprefix("file").lstrip(": ")
    if not re.fullmatch(r"\w+\.py", name):
        raise PageError(f"line {fenced.line}: a file is named as <!-- file: adapter.py -->")
    return name


def files_of(page: str) -> dict[str, str]:
    """Gives the files that the page holds, by name."""
    files = {block.file: block.text for block in blocks_of(page) if block.file}
    if len(files) != sum(block.file is not None for block in blocks_of(page)):
        raise PageError("two blocks are the same file")
    return files


def _fenced(page: str) -> list[_Fenced]:
    found: list[_Fenced] = []
    lines = iter(enumerate(page.splitlines(), 1))
    comment = ""
    for number, line in lines:
        fence = FENCE.match(line)
        if not fence:
            if line.strip():
                said = COMMENT.match(line)
                comment = said["text"] if said else ""
            continue
        text: list[str] = []
        for _, inner in lines:
            if re.match(rf"^ {{0,3}}{fence['ticks'][0]}{{{len(fence['ticks'])},}}\s*$", inner):
                break
            text.append(inner.removeprefix(fence["indent"]))
        else:
            raise PageError(f"line {number}: the block has no end")
        found.append(_Fenced(number, fence["language"], "\n".join(text) + "\n", comment))
        comment = ""
    return found


def matches(pattern: str, printed: str) -> bool:
    """Whether what was printed is what the page claims. Spaces at ends of lines, blank lines at both ends are free."""
    expression = ""
    for line in _stripped(pattern):
        if line.strip() == "...":
            expression += r"(?:[^\n]*\n)*"
        else:
            expression += "[^\n]*".join(re.escape(part) for part in line.split("...")) + r"\n"
    return re.fullmatch(expression, "".join(line + "\n" for line in _stripped(printed))) is not None


def _stripped(text: str) -> list[str]:
    lines = [line.rstrip() for line in text.splitlines()]
    while lines and not lines[0]:
        lines.pop(0)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def pages(root: Path) -> list[Path]:
    """README.md, and the pages of docs/ that say of themselves `<!-- blocks are run -->`."""
    marked = [page for page in sorted((root / "docs").rglob("*.md")) if "<!-- blocks are run -->" in page.read_text()]
    return [root / "README.md", *marked]
