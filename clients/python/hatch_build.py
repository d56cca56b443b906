"""Generates the stubs before the package is built, so that installing from a checkout needs no step before it."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

sys.path.insert(0, str(Path(__file__).parent))
import generate


class GenerateStubs(BuildHookInterface[Any]):
    """Calls generate.py. A source distribution has no protos beside it, but the stubs themselves."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Bring src/fairlead/v1 up to date."""
        if generate.PROTO_ROOT.is_dir():
            generate.generate()
        elif not generate.STAMP.is_file():
            raise FileNotFoundError(f"neither {generate.PROTO_ROOT} nor generated stubs are there")
