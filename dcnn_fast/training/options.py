"""A run's options as a TOML file in its folder, from which another run can be started."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from dcnn_fast.printable import quoted
from dcnn_fast.training.settings import Settings

SETTINGS = "settings"  # the table of a run that was started from Python
RATES = "rates"  # (first step, rate, bias rate) of each part of a run that was resumed with other rates
_MOST = 2**20  # bytes of a TOML file at most


def options_of(settings: Settings) -> dict[str, Any]:
    """The options of a run from Python: its settings, in the table `settings`."""
    return {SETTINGS: settings.to_dict()}


def options_text(options: Mapping[str, Any]) -> bytes:
    """TOML in UTF-8. Options that are None are left out."""
    import tomli_w  # noqa: PLC0415 - optional dependency

    plain = {name: value for name, value in options.items() if value is not None}
    return tomli_w.dumps(plain).encode("utf-8", "surrogateescape")


def read_options(path: Path) -> dict[str, Any]:
    """The options in a TOML file. Raises ValueError naming a file that is not TOML, or that a run from Python wrote."""
    try:
        with open(path, "rb") as file:
            content = file.read(_MOST + 1)
        if len(content) > _MOST:
            raise ValueError(f"it must have at most {_MOST} bytes")
        found = _parsed(content.decode())
    except (OSError, ValueError) as error:  # TOML's and UTF-8's errors are ValueErrors
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ValueError(f"{path}: not a file of options: {reason}") from None
    if SETTINGS in found:
        raise ValueError(f"{path}: must have options of the command, it has the settings of a run from Python")
    tables = [name for name, value in found.items() if isinstance(value, dict)]
    if tables:
        raise ValueError(f"{path}: must have options alone, got the table {quoted(tables[0])}")
    return found


def _parsed(text: str) -> dict[str, Any]:
    library = import_module("tomllib" if sys.version_info >= (3, 11) else "tomli")
    found: dict[str, Any] = library.loads(text)
    return found
