"""Writes the Python and Triton definitions of the records in csrc/core/tables.h: `python -m devtools.table_records`.

The header is the only definition of the tables' layout. Two modules are generated from it, as neither a package without a
compiled engine nor a Triton kernel can read it; a test compares them with the header, and numpy's dtypes with the compiler's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADER = ROOT / "csrc" / "core" / "tables.h"
DTYPES = ROOT / "dcnn_fast" / "ops" / "records.py"
COLUMNS = ROOT / "dcnn_fast" / "ops" / "block" / "triton" / "records.py"

_HEAD = '''"""{}

Made from csrc/core/tables.h by `python -m devtools.table_records`: edit that file.
"""

from __future__ import annotations

import {}
'''
_WIDTH = 128  # of a line, as in ruff's settings
_STRUCT = re.compile(r"struct (\w+)Row \{(.*?)\};", re.DOTALL)
_FIELDS = re.compile(r"(int\d+)_t ([\w, ]+);")
_TRITON = ("Region", "Piece", "Store", "Source", "Output", "Tile")  # those read by the block's Triton kernels


@dataclass(frozen=True)
class Record:
    """A struct of the header. name: without its `Row`. type: every field's, by numpy's name."""

    name: str
    type: str
    fields: tuple[str, ...]

    @property
    def constant(self) -> str:
        """Its name in Python: REGION, CUT_TILE."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).upper()


def records(header: str) -> list[Record]:
    """The records that a header's text states. Raises ValueError for a struct that is not a record."""
    text = re.sub(r"//[^\n]*", "", header)
    found = []
    for name, body in _STRUCT.findall(text):
        lines = _FIELDS.findall(body)
        types = {of for of, _ in lines}
        if len(types) != 1 or _FIELDS.sub("", body).strip():
            raise ValueError(f"{name}Row holds something else than fields of one integer type: {body.strip()}")
        fields = tuple(field.strip() for _, of in lines for field in of.split(","))
        found.append(Record(name, types.pop(), fields))
    return found


def dtypes(of: list[Record]) -> str:
    """The module of numpy dtypes."""
    lines = [_HEAD.format("The records of tables as numpy dtypes.", "numpy as np"), "# fmt: off"]
    for record in of:
        lines += [f"{record.constant} = np.dtype(["]
        lines += _wrapped([f'("{field}", np.{record.type})' for field in record.fields])
        lines += ["])"]
    return "\n".join([*lines, "# fmt: on", ""])


def columns(of: list[Record]) -> str:
    """The module of column numbers, and of each record's number of columns under the record's name."""
    lines = [_HEAD.format("Column numbers of the tables that the block's Triton kernels read.", "triton.language as tl")]
    for record in of:
        if record.name in _TRITON:
            lines += [f"{record.constant} = tl.constexpr({len(record.fields)})"]
            lines += [f"{record.constant}_{field.upper()} = tl.constexpr({i})" for i, field in enumerate(record.fields)]
    return "\n".join([*lines, ""])


def _wrapped(items: list[str]) -> list[str]:
    """The items with commas, wrapped to full lines."""
    lines = ["   "]
    for item in items:
        if len(lines[-1]) + len(item) + 2 > _WIDTH:
            lines.append("   ")
        lines[-1] += f" {item},"
    return lines


def main() -> None:
    """Write both modules."""
    found = records(HEADER.read_text(encoding="utf-8"))
    DTYPES.write_text(dtypes(found), encoding="utf-8")
    COLUMNS.write_text(columns(found), encoding="utf-8")


if __name__ == "__main__":
    main()
