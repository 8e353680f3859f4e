"""python -m tools.sanitize.tests ENGINE [pytest's arguments]: runs tests with that engine, which must be a sanitized one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tools.amx_trap.__main__ import use


def main() -> int:
    use(Path(sys.argv[1]))
    from dcnn_fast import engine  # noqa: PLC0415 - only with the engine that `use` names

    assert engine.native.sanitized
    assert engine.native.__file__ == sys.argv[1]
    return int(pytest.main(sys.argv[2:]))


if __name__ == "__main__":
    sys.exit(main())
