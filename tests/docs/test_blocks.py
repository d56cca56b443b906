"""The page runner itself, on pages made for it."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.blocks import Block, PageError, blocks_of, files_of, matches, pages
from tests.docs.shell import BlockError, Shell

PAGE = """\
# Title

<!-- not run: needs root -->
```sh
apt install something
```

Prose with `code`, then:

```sh
echo one
```

<!-- output -->

```text
one
```

```python
print("```")
```

   ```sh
   indented
   ```

```yaml
not: executed
```

~~~sh
tilde
~~~
"""


def test_blocks_of() -> None:
    assert blocks_of(PAGE) == [
        Block(4, "sh", "apt install something\n", not_run="needs root"),
        Block(10, "sh", "echo one\n", output="one\n"),
        Block(20, "python", 'print("```")\n'),
        Block(24, "sh", "indented\n"),
        Block(32, "sh", "tilde\n"),
    ]


def test_a_comment_belongs_to_the_block_directly_below() -> None:
    page = "<!-- not run: because -->\nProse in between.\n```sh\ntrue\n```\n"
    assert blocks_of(page)[0].not_run is None


def test_files_are_blocks_with_a_name() -> None:
    page = "<!-- file: one.py -->\n```python\n1\n```\n```python\n2\n```\n<!-- file: three.py -->\n```python\n3\n```\n"
    assert files_of(page) == {"one.py": "1\n", "three.py": "3\n"}
    with pytest.raises(PageError, match="two blocks are the same file"):
        files_of(page + page)


@pytest.mark.parametrize(
    "page",
    [
        "<!-- not run -->\n```sh\ntrue\n```\n",
        "<!-- not run: -->\n```sh\ntrue\n```\n",
        "<!-- output -->\n```text\na\n```\n",
        "```sh\ntrue\n```\n<!-- output -->\n```json\n{}\n```\n",
        "```sh\ntrue\n```\n<!-- output -->\n```text\n```\n<!-- output -->\n```text\n```\n",
        "<!-- file: -->\n```python\n1\n```\n",
        "<!-- file: ../up.py -->\n```python\n1\n```\n",
        "```sh\ntrue\n",
        "```bash\ntrue\n```\n",
        "```py\n1\n```\n",
    ],
)
def test_a_wrong_page_is_refused(page: str) -> None:
    with pytest.raises(PageError):
        blocks_of(page)


@pytest.mark.parametrize(
    ("pattern", "printed", "expected"),
    [
        ("one\ntwo\n", "one\ntwo\n", True),
        ("one\n", "one   \n\n\n", True),
        ("one\n", "one\ntwo\n", False),
        ("port=...\n", "port=4711\n", True),
        ("port=...\n", "port=4711\nmore\n", False),
        ("a ... c ... e\n", "a b c d e\n", True),
        ("one\n...\n", "one\ntwo\nthree\n", True),
        ("one\n...\n", "one\n", True),
        ("...\nthree\n", "one\ntwo\nthree\n", True),
        ("one\n...\nthree\n", "one\ntwo\n", False),
        ("a.c\n", "abc\n", False),
        ("", "", True),
        ("", "something\n", False),
    ],
)
def test_matches(pattern: str, printed: str, expected: bool) -> None:
    assert matches(pattern, printed) is expected


def test_pages_are_the_readme_and_those_that_ask(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/a.md").write_text("<!-- blocks are run -->\n")
    (tmp_path / "docs/b.md").write_text("```sh\nfalse\n```\n")
    assert pages(tmp_path) == [tmp_path / "README.md", tmp_path / "docs/a.md"]


@pytest.fixture
def shell(tmp_path: Path) -> Iterator[Shell]:
    tool = tmp_path / "tools/greet"
    tool.parent.mkdir()
    tool.write_text("#!/bin/bash\necho hello\n")
    tool.chmod(0o755)
    with Shell(tmp_path, tmp_path, [tool.parent]) as shell:
        yield shell


def alive(process: int) -> bool:
    """A process that has ended but that nobody has asked about yet (state Z) does not count."""
    stat = Path(f"/proc/{process}/stat")
    return stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z"


def sh(text: str) -> Block:
    return Block(1, "sh", text)


def test_blocks_share_a_shell_and_find_the_tools(shell: Shell, tmp_path: Path) -> None:
    shell.run(sh("mkdir inner\ncd inner\nname=value\nexport OTHER=exported\n"))
    assert shell.run(sh("pwd; echo $name; greet\n")) == f"{tmp_path}/inner\nvalue\nhello\n"
    assert shell.run(Block(1, "python", "import os\nprint(os.environ['OTHER'])\n")) == "exported\n"


def test_standard_error_is_printed_too_and_standard_input_is_empty(shell: Shell) -> None:
    assert shell.run(sh("echo out; echo err >&2; cat\n")) == "out\nerr\n"
    assert shell.run(sh("echo next\n")) == "next\n"


@pytest.mark.parametrize("text", ["false\ntrue\n", "no-such-command\n", "exit 3\n", "if true; then\n", "cd nowhere\n"])
def test_the_first_command_that_fails_fails_the_block(shell: Shell, text: str) -> None:
    with pytest.raises(BlockError, match="line 1: the sh block failed"):
        shell.run(sh(text))


def test_python_fails_with_its_traceback(shell: Shell) -> None:
    with pytest.raises(BlockError, match="ZeroDivisionError"):
        shell.run(Block(7, "python", "1 / 0\n"))


def test_a_failed_command_that_is_asked_for_is_no_failure(shell: Shell) -> None:
    assert shell.run(sh("false || echo mended\nif ! false; then echo fine; fi\n")) == "mended\nfine\n"


def test_what_never_ends_is_ended(shell: Shell) -> None:
    started = time.monotonic()
    with pytest.raises(BlockError, match="did not end"):
        shell.run(sh("sleep 100\n"), timeout=0.3)
    assert time.monotonic() - started < 5


def test_a_server_in_the_background_lives_until_the_page_ends(tmp_path: Path) -> None:
    with Shell(tmp_path, tmp_path, []) as shell:
        shell.run(sh("sleep 100 &\necho $! >server\n"))
        server = int((tmp_path / "server").read_text())
        assert shell.run(sh(f"kill -0 {server} && echo alive\n")) == "alive\n"
        assert alive(server)
    assert not alive(server)


def test_a_server_that_ignores_the_polite_signal_is_ended_too(tmp_path: Path) -> None:
    with Shell(tmp_path, tmp_path, [], patience=0.3) as shell:
        stubborn = "bash -c 'trap \"\" TERM; echo $$ >server; while :; do sleep 1; done' &"
        shell.run(sh(f"{stubborn}\nuntil [ -s server ]; do :; done\n"))
        server = int((tmp_path / "server").read_text())
    assert not alive(server)
