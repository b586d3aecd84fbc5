"""Generates the code of the API before the package is built."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateHook(BuildHookInterface[Any]):
    """Runs `generate.py`."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Generates the code of the API."""
        runpy.run_path(str(Path(self.root) / "generate.py"), run_name="__main__")
