"""Each mutant still finds its place in the sources: one that does not would kill nothing, and be noticed late."""

from pathlib import Path

import pytest

from tests.mutants.run import ROOT, Mutant, read_mutants

MUTANTS = read_mutants()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_applies(mutant: Mutant) -> None:
    text = (ROOT / mutant.file).read_text()
    assert mutant.apply(text) != text
    assert mutant.breaks


def test_names_differ() -> None:
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS) >= 15


def test_no_part_is_spared() -> None:
    parts = {Path(mutant.file).stem for mutant in MUTANTS}
    assert parts >= {
        "journal",
        "lifecycle",
        "setup",
        "outbox",
        "heartbeat",
        "session",
        "session_commands",
        "session_legs",
        "copies",
        "subscription",
    }


@pytest.mark.parametrize("text", ["nothing of the kind", "a place; a place"])
def test_refuses_what_does_not_stand_there_once(text: str) -> None:
    mutant = Mutant(name="", file="server/x.cc", old="a place", new="", breaks="")
    with pytest.raises(ValueError, match=r"server/x\.cc holds it \d times"):
        mutant.apply(text)
