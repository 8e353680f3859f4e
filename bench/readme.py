"""The README's performance section, made from a result file: `python -m bench.readme bench/results/FILE.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from bench.suites import OURS, OURS_BF16

START, END = "<!-- performance: made by `python -m bench.readme` -->", "<!-- end of performance -->"


def section(result: dict[str, Any], source: str) -> str:
    """The section's text. result: what `python -m bench --out` wrote to the file `source`."""
    machine, limits = result["machine"], result["limits"]
    peak = max(rate for name, rate in limits.items() if name.startswith("multiply-adds"))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [
        f"Measured on {machine['processor']}, {machine['cores']} cores; {packages}. One thread does {peak:.0f} GFLOP/s of fp32",
        f"multiply-adds in registers, torch's matrix product {limits['torch GEMM 2048 float32']:.0f} in fp32 and "
        f"{limits['torch GEMM 2048 bfloat16']:.0f} in bf16.",
        f"Everything, the slower peers too, is in [`{source}`]({source}); `python -m bench` repeats it.",
        "",
        "| same weights, same windows, outputs agree | threads | precision | dcnn_fast | best peer | ratio |",
        "|---|---|---|---|---|---|",
        *_comparisons(result["rows"]),
        "",
        "2,048 photographs, 50 views each, scaled from a few (" + _paper_note(result["rows"]) + "):",
        "",
        "| network | threads | from JPEG files | network only | the paper |",
        "|---|---|---|---|---|",
        *_paper(result["rows"]),
    ]
    if result["missed"]:
        lines += ["", "Below the floors that the project set itself (`bench/floors.py`) on this machine:", ""]
        lines += [f"- {line}" for line in result["missed"]]
    return "\n".join(lines) + "\n"


def _comparisons(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if row["suite"] not in ("block", "score") or row["name"] not in (OURS, OURS_BF16):
            continue
        same = ("suite", "case", "threads", "precision")
        peers = [r for r in rows if all(r[key] == row[key] for key in same) and r["name"] not in (OURS, OURS_BF16)]
        best = min(peers, key=lambda r: float(r["seconds"]))
        what = f"{row['case']} alone, 50 images" if row["suite"] == "block" else f"50 views, {row['case']}"
        times = f"{row['seconds'] * 1e3:.0f} ms | {best['name']}, {best['seconds'] * 1e3:.0f} ms"
        lines.append(f"| {what} | {row['threads']} | {row['precision']} | {times} | {row['ratio']:.2f} |")
    return lines


def _paper(rows: list[dict[str, Any]]) -> list[str]:
    lines = []
    for row in rows:
        if row["suite"] != "paper" or not row["case"].endswith(", from files"):
            continue
        name = row["case"].removesuffix(", from files")
        network = next(r for r in rows if r["case"] == f"{name}, network" and r["threads"] == row["threads"])
        paper = row["note"].split("the paper: ")[1]
        minutes = f"{row['seconds'] / 60:.1f} min | {network['seconds'] / 60:.1f} min"
        lines.append(f"| {name} | {row['threads']} | {minutes} | {paper} |")
    return lines


def _paper_note(rows: list[dict[str, Any]]) -> str:
    return next((row["note"].split(" scaled")[0] for row in rows if row["suite"] == "paper"), "none")


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
