"""The README's performance section, made from a result file: `python -m bench.readme bench/results/FILE.json`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.row import OURS, OURS_BF16, counted
from bench.suites import jpeg, paper, score

START, END = "<!-- performance: made by `python -m bench.readme` -->", "<!-- end of performance -->"
MINE = (OURS, OURS_BF16)
PRECISIONS = ("fp32", "bf16")

Row = Mapping[str, Any]  # of the file, where a later version's keys may be missing


def section(result: Mapping[str, Any], source: str) -> str:
    """The section's text. result: what `python -m bench --out` wrote to the file `source`."""
    rows = result["rows"]
    parts = [
        _machine(result, source), _comparisons(rows), _large_files(rows), _paper(rows), _scaling(rows), _predicted(rows),
        _bullets("Slower than the best peer:", _losses(rows)),
        _bullets("No time, as the output disagreed:", result.get("refused", ())),
        _bullets("Below the floors that the project set itself (`bench/floors.py`):", result["missed"]),
    ]  # fmt: skip
    return "\n\n".join("\n".join(part) for part in parts if part) + "\n"


def _machine(result: Mapping[str, Any], source: str) -> list[str]:
    machine, limits = result["machine"], result["limits"]
    peak = max(rate for name, rate in limits.items() if name.startswith("multiply-adds"))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    return [
        f"Measured on {machine['processor']}, {machine['cores']} cores; {packages}. One thread does {peak:.0f} GFLOP/s of fp32",
        f"multiply-adds in registers, torch's matrix product {limits['torch GEMM 2048 float32']:.0f} in fp32 and "
        f"{limits['torch GEMM 2048 bfloat16']:.0f} in bf16.",
        f"Everything, the slower peers too, is in [`{source}`]({source}); `python -m bench` repeats it.",
    ]


def _comparisons(rows: Sequence[Row]) -> list[str]:
    """A line a case and precision: ours, the best peer and the ratio, for each number of threads."""
    mine = [row for row in rows if row["suite"] in ("block", "score") and row["name"] in MINE]
    threads = _distinct(row["threads"] for row in mine)
    what = _distinct((row["suite"], row["case"], row["precision"]) for row in mine)
    lines = []
    for suite, case, precision in what:
        cells = []
        for count in threads:
            same = [row for row in rows if _key(row) == (suite, case, count, precision)]
            ours = [row for row in same if row["name"] in MINE]
            others = [row for row in same if row["name"] not in MINE]
            cells.append(_compared(ours[0], others) if ours and others else "-")
        name = f"{case} alone, 50 images" if suite == "block" else f"50 views, {_every_named(case)}"
        lines.append(f"| {name} | {precision} | {' | '.join(cells)} |")
    if not lines:
        return []
    columns = " | ".join(f"{counted(count)}: dcnn_fast, best peer, ratio" for count in threads)
    tried = any(row.get("setting") for row in rows)
    about = "Each peer in the fastest of its settings here" if tried else "Each peer in one setting, perhaps not its fastest"
    head = _header(f"same weights, same windows, outputs agree | precision | {columns}")
    return [f"{about}; the ratio is its time over ours.", "", *head, *lines]


def _every_named(case: str) -> str:
    return "SCNN, grid 8, the peers given equal windows too" if case == score.GRID_8_EVERY else case


def _compared(ours: Row, others: Sequence[Row]) -> str:
    best = min(others, key=lambda row: float(row["seconds"]))
    ratio = best["seconds"] / ours["seconds"]
    name = best["name"].removesuffix(" bf16")
    return f"{ours['seconds'] * 1e3:.0f} ms, {name} {best['seconds'] * 1e3:.0f} ms, **{ratio:.2f}**"


def _key(row: Row) -> tuple[Any, ...]:
    return row["suite"], row["case"], row["threads"], row["precision"]


def _large_files(rows: Sequence[Row]) -> list[str]:
    found = [row for row in rows if row["suite"] == "jpeg" and row["case"] == jpeg.NETWORK]
    if not found:
        return []
    lines = []
    for row in found:
        same = [other for other in rows if all(other[key] == row[key] for key in ("suite", "threads", "name"))]
        took = {other["case"]: f"{other['seconds'] * 1e3:.0f} ms" for other in same}
        times = " | ".join(took[case] for case in (jpeg.DECODING, jpeg.NETWORK, jpeg.WHOLE))
        lines.append(f"| {row['precision']} | {row['threads']} | {times} | {row['ratio']:.2f} |")
    about = found[0]["note"].split(", seconds")[0]
    head = _header("precision | threads | decoding | network | both, end to end | decoding / network")
    return [f"DCNN, 50 views, grid 1, from JPEG files ({about}), an image:", "", *head, *lines]


def _paper(rows: Sequence[Row]) -> list[str]:
    """Minutes from files and of the network only, a line a network, a column a precision and number of threads."""
    ours = [row for row in rows if row["suite"] == "paper"]
    if not ours:
        return []
    columns = sorted({(row["threads"], row["precision"]) for row in ours}, key=lambda c: (PRECISIONS.index(c[1]), c[0]))
    minutes = {(row["case"], row["threads"], row["precision"]): row["seconds"] / 60 for row in ours}
    lines = []
    for name in _distinct(row["case"].split(", ")[0] for row in ours):
        note = next(row["note"] for row in ours if row["case"].startswith(f"{name}, "))
        parts = [[minutes[(f"{name}, {part}", *column)] for part in (paper.FROM_FILES, paper.NETWORK)] for column in columns]
        cells = " | ".join(f"{files:.1f} / {network:.1f} min" for files, network in parts)
        lines.append(f"| {name} | {note.split('the paper: ')[1]} | {cells} |")
    heads = " | ".join(f"{precision}, {counted(threads)}" for threads, precision in columns)
    count = ours[0]["note"].split(" scaled")[0]
    about = f"2,048 images, 50 views each, scaled from {count}: from JPEG files / network only:"
    return [about, "", *_header(f"network | the paper | {heads}"), *lines]


def _scaling(rows: Sequence[Row]) -> list[str]:
    shared = [row for row in rows if row["suite"] == "scaling" and row["name"] == f"{OURS}, sharing" and row["threads"] == 1]
    if not shared:
        return []
    least, most = min(shared, key=_ratio), max(shared, key=_ratio)
    return [
        f"Sharing against every window by itself, on one thread: from {least['ratio']:.2f} x ({least['case']}) to "
        f"{most['ratio']:.2f} x ({most['case']}).",
    ]


def _predicted(rows: Sequence[Row]) -> list[str]:
    found = [row for row in rows if row["suite"] == "predicted" and row["case"] == "SCNN, grid 1"]
    if not found:
        return []
    said = ", ".join(f"{row['name'].removesuffix(' (predicted)')} {row['seconds'] * 1e3:.2g} ms" for row in found)
    return [f"On GPUs, `predicted` by the model that the benchmark prints, for 50 views, SCNN, grid 1: {said}."]


def _losses(rows: Sequence[Row]) -> list[str]:
    return [
        f"{row['case']}, {counted(row['threads'])}, {row['precision']}: {row['ratio']:.2f} x"
        for row in rows
        if row["suite"] in ("block", "score") and row["name"] in MINE and row["ratio"] is not None and row["ratio"] < 1
    ]


def _bullets(title: str, lines: Sequence[str]) -> list[str]:
    return [title, "", *(f"- {line}" for line in lines)] if lines else []


def _header(columns: str) -> list[str]:
    return [f"| {columns} |", "|" + "---|" * (columns.count(" | ") + 1)]


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _ratio(row: Row) -> float:
    return float(row["ratio"])


def replaced(readme: str, text: str) -> str:
    """`readme` with the section between its marks replaced."""
    head, rest = readme.split(START)
    return f"{head}{START}\n{text}{END}{rest.split(END)[1]}"


def main(result: Annotated[Path, typer.Argument()], readme: Annotated[Path, typer.Option()] = Path("README.md")) -> None:
    """Write the section of RESULT into the README."""
    text = section(json.loads(result.read_text()), result.as_posix())
    readme.write_text(replaced(readme.read_text(), text))


if __name__ == "__main__":
    typer.run(main)
