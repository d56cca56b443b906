"""Stacks of fairlead.testing are of the binaries that these tests are told to run."""

import pytest

from tests.e2e.processes import BUILD


@pytest.fixture(autouse=True)
def _binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAIRLEAD_BINARY", str(BUILD / "fairlead"))
    monkeypatch.setenv("FAIRLEAD_EXCHANGE", str(BUILD / "exchange"))
