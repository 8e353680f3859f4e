"""Options common to all commands, completion, and help texts that can be read alone."""

from __future__ import annotations

import ast
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import dcnn_fast

CLI = Path(dcnn_fast.__file__).parent / "cli"


def _ran(*words):
    return subprocess.run([sys.executable, "-m", "dcnn_fast", *words], capture_output=True, text=True, check=False)


def _helps():
    """Every help text written at its option, with file and line."""
    for file in sorted(CLI.glob("*.py")):
        for call in ast.walk(ast.parse(file.read_text())):
            for keyword in getattr(call, "keywords", ()):
                if keyword.arg == "help" and isinstance(keyword.value, ast.Constant):
                    yield f"{file.name}:{keyword.value.lineno}", keyword.value.value


def test_version_quiet_and_verbose():
    assert _ran("--version").stdout == f"dcnn-fast {metadata.version('dcnn-fast')}\n"
    quiet = _ran("-q", "describe", "scnn-arch1")
    assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    failed = _ran("--quiet", "describe", "no-such-net")
    assert failed.returncode == 2 and failed.stderr.startswith("error: ") and failed.stdout == ""
    verbose = _ran("-v", "describe", "scnn-arch1")
    assert "conv" in verbose.stdout or "block" in verbose.stdout
    assert re.match(r"dcnn-fast \S+, Python \S+, torch \S+, numpy \S+, pillow \S+\n", verbose.stderr)


def test_completion_is_to_be_had():
    """The script fits the asking shell, which is the nearest one among the parent processes."""
    line = shlex.join([sys.executable, "-m", "dcnn_fast", "--show-completion"])
    done = subprocess.run(["bash", "-c", f"{line}; exit $?"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "complete -o default -F _dcnn_fast_completion dcnn-fast" in done.stdout and "_DCNN_FAST_COMPLETE=" in done.stdout


def test_every_help_text_is_a_sentence_that_stands_alone():
    found = dict(_helps())
    assert len(found) > 150
    for where, text in found.items():
        assert not re.match(r"(Of|What)\b", text), f"{where}: {text}"
        assert text[0].isupper() and text.rstrip().endswith((".", "…")), f"{where}: {text}"
        assert len(text.split()) > 1, f"{where}: {text}"
