"""`python -m dcnn_fast`: the command line."""

from __future__ import annotations

from dcnn_fast.cli.main import run

if __name__ == "__main__":
    run()
