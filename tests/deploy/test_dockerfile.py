"""deploy/Dockerfile as text, because the tests need no container tool. `make image` is where it is built."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT

DOCKERFILE = ROOT / "deploy/Dockerfile"
Instruction = tuple[str, str]


def stages() -> list[list[Instruction]]:
    """The instructions of each stage; those before the first one are the first of the list."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    found: list[list[Instruction]] = [[]]
    for line in filter(None, text.splitlines()):
        word, rest = line.split(maxsplit=1)
        if word == "FROM":
            found.append([])
        found[-1].append((word, rest))
    return found


def values(stage: list[Instruction], word: str) -> list[str]:
    return [rest for each, rest in stage if each == word]


def copied() -> list[str]:
    """What the build takes from the project."""
    sources: list[str] = []
    for stage in stages():
        for rest in values(stage, "COPY"):
            if not rest.startswith("--from="):
                sources += rest.split()[:-1]
    return sources


def test_the_base_is_pinned_and_can_be_chosen() -> None:
    before, build, last = stages()
    [base] = values(before, "ARG")
    assert re.fullmatch(r"BASE=debian:bookworm-\d{8}-slim@sha256:[0-9a-f]{64}", base)
    assert values(build, "FROM") == ["${BASE} AS build"]
    assert values(last, "FROM") == ["scratch"]


def test_the_last_stage() -> None:
    last = stages()[-1]
    assert not values(last, "RUN"), "it has no shell to run anything"
    assert values(last, "USER") == ["65532:65532"]
    assert values(last, "STOPSIGNAL") == ["SIGTERM"]
    # Lists, because a string would be run by a shell.
    assert json.loads(*values(last, "ENTRYPOINT")) == ["/usr/bin/fairlead"]
    assert json.loads(*values(last, "CMD")) == ["--config", "/etc/fairlead/fairlead.yaml"]
    [labels] = values(last, "LABEL")
    for label in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{label}=" in labels


def test_the_context_is_what_is_copied() -> None:
    """.dockerignore lets in exactly what the Dockerfile copies, and all of it is tracked."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert lines[0] == "*"
    assert sorted(line.removeprefix("!") for line in lines[1:]) == sorted(copied())
    tracked = subprocess.run(["git", "ls-files", *copied()], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode == 0:
        names = tracked.stdout.splitlines()
        assert all(any(Path(name).is_relative_to(source) for name in names) for source in copied())


@pytest.mark.parametrize(
    ("works", "says"),
    [(None, "boxer is not installed"), (False, "boxer is installed, but `boxer info` fails"), (True, "")],
)
def test_a_tool_is_chosen_or_missed(tmp_path: Path, works: bool | None, says: str) -> None:
    """deploy/image/build, with a tool that writes down what it is asked."""
    if works is not None:
        boxer = tmp_path / "boxer"
        boxer.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\nexit {0 if works else 1}\n')
        boxer.chmod(0o755)
    environment = {**os.environ, "PATH": f"{tmp_path}:/usr/bin:/bin", "TOOL": "boxer", "BASE": "here/debian"}
    run = subprocess.run([ROOT / "deploy/image/build"], capture_output=True, text=True, env=environment)
    assert says in run.stderr
    assert run.returncode == (0 if works else 1)
    if works:
        asked = (tmp_path / "asked").read_text().splitlines()
        assert asked[0] == "info"
        assert re.fullmatch(
            r"build --file deploy/Dockerfile --tag fairlead:0\.1\.0 --build-arg VERSION=0\.1\.0 "
            r"--build-arg REVISION=\w+(-modified)? --build-arg BASE=here/debian \.",
            asked[1],
        )
