"""constraints.txt can be installed by every Python version that the project supports."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

import dcnn_fast

ROOT = Path(dcnn_fast.__file__).parents[1]
OLDEST = metadata.metadata("dcnn-fast")["Requires-Python"].removeprefix(">=")
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = [Requirement(line) for line in LINES if line and not line.startswith("#")]


@pytest.mark.parametrize("pin", [each for each in PINS if each.marker is None], ids=lambda pin: pin.name)
def test_a_package_pinned_for_every_python_supports_the_oldest(pin):
    try:
        found = metadata.distribution(pin.name)
    except metadata.PackageNotFoundError:
        return  # a build tool in its own environment
    wanted = found.metadata["Requires-Python"]
    assert not pin.specifier.contains(found.version) or wanted is None or OLDEST in SpecifierSet(wanted), wanted
