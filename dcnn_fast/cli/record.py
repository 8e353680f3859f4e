"""The record beside a file of scores: the settings behind them, so that only a run of equal settings resumes the file."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from dcnn_fast.cli import formulas
from dcnn_fast.cli.targets import Kind, beside, json_with
from dcnn_fast.scoring.settings import MODELS_OWN, option_of

SUFFIX = ".run.json"
EXTRAS = ("--faults", "--per-sample", "--groups")  # options for fields that are otherwise empty
OFF_UNLESS_NAMED = (formulas.OPTION, *EXTRAS)  # when a record does not name them
_FORMAT = 1
_BEFORE = {
    **dict.fromkeys(OFF_UNLESS_NAMED, "off"),
    "--long-side": MODELS_OWN,
    "--decode": "exact",
}  # values of options that an older record lacks

_FIRST = b'"dcnn_fast_run"'
_WHOLE = json_with("the record of a run of scores", "dcnn_fast_run", "settings", "folder")


def _is_record(head: bytes) -> bool:
    """Whether the head is a record's, whole or broken: cut short, changed by hand, or left as zeros by a crash."""
    if _WHOLE.known(head) or not head.strip(b"\0"):
        return True
    brace, rest = head.lstrip()[:1], head.lstrip()[1:].lstrip()
    return brace == b"{" and (rest.startswith(_FIRST) or _FIRST.startswith(rest))


RECORD = Kind(_WHOLE.what, _is_record)


class RecordError(ValueError):
    """A record that cannot be read; the message says why."""


@dataclass(frozen=True)
class Record:
    """The settings of one run.

    settings: option -> value, as text, of everything that decides the rows' content; `--model` is the digest of the network and
    its weights. model: the model's name on the command line. folder: the working directory, the base of relative paths in rows.
    version: the program's. device: its kind, then the instruction set or the forced backend. Version and device change only a
    score's last digits.
    """

    settings: Mapping[str, str]
    model: str
    folder: str
    version: str
    device: str

    def content(self) -> bytes:
        """The record as a file."""
        return (json.dumps({"dcnn_fast_run": _FORMAT, **asdict(self)}, indent=1) + "\n").encode()

    def differences(self, other: Record) -> list[str]:
        """The settings in which `other` differs from this record, one text for each option: `--grid 1 (here 2)`."""
        found = []
        for option in [*self.settings, *(each for each in other.settings if each not in self.settings)]:
            without = _BEFORE.get(option, "unknown")
            ours, theirs = self.settings.get(option, without), other.settings.get(option, without)
            if ours != theirs:
                if option == "--model":
                    ours, theirs = (f"{one.model} of digest {digest[:12]}" for one, digest in ((self, ours), (other, theirs)))
                found.append(f"{option_of(option)} {theirs} (here {ours})")
        if self.kind_of_device != other.kind_of_device:
            found.append(f"--device {other.kind_of_device} (here {self.kind_of_device})")
        return found

    @property
    def kind_of_device(self) -> str:
        """cpu or cuda: rows of the two are never mixed."""
        return re.split(r"[:,]", self.device)[0]


def record_path(rows: Path) -> Path:
    """The path of the record of a file of rows."""
    return beside(rows, SUFFIX)


def read_record(rows: Path) -> Record | None:
    """The record beside a file of rows, None where there is none. Raises RecordError."""
    try:
        value = json.loads(record_path(rows).read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise RecordError(str(error)) from None
    if not isinstance(value, dict) or value.get("dcnn_fast_run") != _FORMAT:
        raise RecordError(f"dcnn_fast_run must be {_FORMAT}")
    settings = value.get("settings")
    texts = [value.get(name) for name in ("model", "folder", "version", "device")]
    if not isinstance(settings, dict) or not all(isinstance(text, str) for text in [*settings.values(), *texts]):
        raise RecordError("settings must be an object of texts; model, folder, version and device must be texts")
    model, folder, version, device = map(str, texts)
    return Record(settings, model, folder, version, device)
