"""python -m devtools.sanitize.tests ENGINE [pytest's arguments]: runs tests with that engine, which must be a sanitized one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from devtools.amx_trap.__main__ import use


def main() -> int:
    file, *arguments = sys.argv[1:]
    use(Path(file))
    from dcnn_fast import engine  # noqa: PLC0415 - only with the engine that `use` names

    assert engine.native.sanitized
    assert engine.native.__file__ == file
    return int(pytest.main(arguments))


if __name__ == "__main__":
    sys.exit(main())
