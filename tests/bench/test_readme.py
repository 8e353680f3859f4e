"""The README's performance section is what its result file says, and says what a reader wants to know."""

from __future__ import annotations

import json
import re
from pathlib import Path

from bench.readme import END, START, replaced, section
from bench.row import OURS, OURS_BF16, Row
from bench.suites import jpeg, score

ROOT = Path(__file__).parent.parent.parent


def test_the_readme_says_what_was_measured():
    readme = (ROOT / "README.md").read_text()
    source = re.search(r"bench/results/[\w.-]+\.json", readme.split(START)[1].split(END)[0]).group()
    assert replaced(readme, section(json.loads((ROOT / source).read_text()), source)) == readme


def _result():
    rows = []
    for case, ours, ratio in (("SCNN, grid 1", 0.1, 3.0), (score.GRID_8, 0.05, 0.9), (score.GRID_8_EVERY, 0.05, 5.0)):
        rows += [
            Row("score", case, 2, OURS_BF16, "bf16", ours, ratio=ratio),
            Row("score", case, 2, "torch eager bf16", "bf16", 9.0, setting="NCHW"),
            Row("score", case, 2, "OpenVINO bf16", "bf16", ours * ratio, setting="2 streams"),
            Row("score", case, 2, "OpenVINO", "fp32", 0.001, setting="1 stream"),
        ]
    for part, seconds, ratio in ((jpeg.DECODING, 0.2, None), (jpeg.NETWORK, 0.16, 1.25), (jpeg.WHOLE, 0.3, None)):
        note = "3 originals of 12.2, 9.7, 9.1 megapixels, seconds an image"
        rows.append(Row("jpeg", part, 2, OURS_BF16, "bf16", seconds, ratio=ratio, note=note))
    for by, precision, factor in ((OURS, "fp32", 1), (OURS_BF16, "bf16", 0.5)):
        for threads in (1, 2):
            for part in ("from files", "network"):
                note = "8 photographs scaled to 2048; the paper: 80 min on K40"
                rows.append(Row("paper", f"dcnn, {part}", threads, by, precision, 600 * factor / threads, note=note))
    rows.append(Row("predicted", "SCNN, grid 1", 0, "H100 SXM bf16 (predicted)", "bf16", 0.0008))
    limits = {"multiply-adds avx2": 100.0, "torch GEMM 2048 float32": 90.0, "torch GEMM 2048 bfloat16": 200.0}
    machine = {"processor": "a processor", "cores": 2, "packages": {"torch": "2"}}
    return {
        "machine": machine, "limits": limits, "rows": [row.as_dict() for row in rows],
        "refused": ["block 1, 1 thread, OpenVINO: output differs"], "missed": ["block 1, 1 thread, fp32: too slow"],
    }  # fmt: skip


def test_the_section_has_the_ratios_the_files_the_paper_and_the_losses():
    text = section(_result(), "bench/results/x.json")
    for line in (
        "| 50 views, SCNN, grid 1 | bf16 | 100 ms, OpenVINO 300 ms, **3.00** |",
        "| 50 views, SCNN, grid 8 | bf16 | 50 ms, OpenVINO 45 ms, **0.90** |",
        "| 50 views, SCNN, grid 8, the peers given equal windows too | bf16 | 50 ms, OpenVINO 250 ms, **5.00** |",
        "| bf16 | 2 | 200 ms | 160 ms | 300 ms | 1.25 |",
        "| network | the paper | fp32, 1 thread | fp32, 2 threads | bf16, 1 thread | bf16, 2 threads |",
        "| dcnn | 80 min on K40 | 10.0 / 10.0 min | 5.0 / 5.0 min | 5.0 / 5.0 min | 2.5 / 2.5 min |",
        "- SCNN, grid 8, 2 threads, bf16: 0.90 x",
        "- block 1, 1 thread, OpenVINO: output differs",
        "- block 1, 1 thread, fp32: too slow",
    ):
        assert line in text.splitlines(), line
    assert "3 originals of 12.2, 9.7, 9.1 megapixels" in text
    assert "`predicted`" in text and "H100 SXM bf16 0.8 ms" in text
    assert re.search(r"bench/results/x\.json", text)
