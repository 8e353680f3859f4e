"""`--max-memory`: a photograph that does not fit is one error, all others are scored, and the process stays below."""

from __future__ import annotations

import csv
import os
import re
import subprocess

import numpy as np
import pytest
from PIL import Image

from tests.cli.command import VIEWS, main, run, score

MEASURED = """
import sys
from dcnn_fast.cli.main import run
try:
    run()
finally:
    peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
    print("PEAK", peak, file=sys.stderr)
"""


def measured(*arguments):
    """The command's result and its peak memory."""
    found = subprocess.run(
        [*main(MEASURED), *map(str, arguments)], capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert "Traceback" not in found.stderr, found.stderr
    return found, int(re.search(r"PEAK (\d+)", found.stderr)[1])


@pytest.fixture
def pictures(tmp_path):
    """Some small pictures, and one of 420 MB in a file of a hundredth of that size."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 256, (300, 400, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    Image.new("P", (7700, 7700)).save(folder / "3large.png")
    return folder


def rows(path):
    with open(path, newline="") as file:
        return {os.path.basename(row["path"]): row for row in csv.DictReader(file)}


def test_a_picture_that_does_not_fit_is_an_error_and_the_others_go_on(model, pictures, tmp_path):
    options = (pictures, "--workers", 4, "--csv", tmp_path / "s.csv")
    refused = score(model, *options, "--max-memory", "1M")
    least = re.search(r"error: --max-memory 1M is too little .* 4 workers: it must be at least (\d+)M", refused.stderr)
    assert refused.returncode == 2 and not (tmp_path / "s.csv").exists()
    most = int(least[1]) + 40
    found, peak = measured("score", "--model", model, "--samples", VIEWS, *options, "--max-memory", f"{most}M")
    assert found.returncode == 1
    assert peak < most * 2**20
    limited = rows(tmp_path / "s.csv")
    why = rf"reading it takes \d+ MB, more than the \d+ MB that --max-memory {most}M leaves for pictures"
    assert re.fullmatch(why, limited["3large.png"]["error"]) and f"{most}M" in found.stderr
    assert score(model, pictures, "--csv", tmp_path / "t.csv").returncode == 0
    everything = rows(tmp_path / "t.csv")
    assert len(everything) == len(limited) == 7
    places = {"collection_percentile": ""}  # the percentile counts the large picture, too
    assert all(limited[name] | places == everything[name] | places for name in limited if name != "3large.png")
    again = score(model, pictures, "--csv", tmp_path / "s.csv", "--resume")
    assert again.returncode == 0, again.stderr
    assert rows(tmp_path / "s.csv") == everything


@pytest.mark.parametrize("size", ["2X", "", "-1G", "1.5G", "G", "\uff12G"])
def test_a_size_that_is_none_is_refused(model, pictures, tmp_path, size):
    found = score(model, pictures, "--max-memory", size)
    assert found.returncode == 2 and "--max-memory must be a number of bytes with K, M, G or T, as 2G" in found.stderr
    assert "Traceback" not in found.stderr


def test_the_help_says_of_what_it_is_a_limit():
    of_one, of_each = "process's data", "the data of each of the run's processes"
    for command, what in (("score", of_one), ("evaluate", of_one), ("train", of_each), ("adapt", of_each)):
        said = " ".join(run(command, "--help", env={"COLUMNS": "300"}).stdout.split())
        assert "--max-memory" in said and what in said


@pytest.fixture(scope="module")
def rated(tmp_path_factory):
    """A table of small photographs with ratings, and one of 420 MB among them."""
    folder = tmp_path_factory.mktemp("rated")
    lines = ["path,rating"]
    for number in range(24):
        pixels = np.random.default_rng(number).integers(0, 256, (60, 70, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
        lines.append(f"{number}.png,{number}")
    Image.new("P", (7700, 7700)).save(folder / "large.png")
    (folder / "ratings.csv").write_text("\n".join([*lines, "large.png,24"]))
    return folder / "ratings.csv"


SMALL = ("--net", "scnn", "--plane", 36, "--filters", 0.125, "--fc", "16,8", "--epochs", 1, "--batch", 8)


@pytest.mark.parametrize("workers", [0, 2])
def test_training_skips_and_names_what_does_not_fit(rated, tmp_path, workers):
    command = ("train", rated, *SMALL, "--workers", workers, "--out")
    refused = run(*command, tmp_path / "no", "--max-memory", "1M")
    least = re.search(r"error: --max-memory 1M is too little for this network and a mini-batch of 8: .* (\d+)M", refused.stderr)
    assert refused.returncode == 2 and least, refused.stderr
    most = int(least[1]) + 60
    found, peak = measured(*command, tmp_path / "run", "--max-memory", f"{most}M")
    assert found.returncode == 0 and peak < most * 2**20, (found.stderr, peak)
    why = rf"reading it takes \d+ MB, more than the \d+ MB that --max-memory {most}M leaves for pictures"
    assert re.search(rf"skipped: [^\n]*large.png: {why}", found.stderr), found.stderr
    with open(tmp_path / "run" / "skipped.csv", newline="") as file:
        _, row = csv.reader(file)
    assert "large.png" in row[0] and re.fullmatch(why, row[1])


def test_a_mini_batch_that_does_not_fit_ends_the_training_in_one_line(rated, tmp_path):
    sizes = ("--stride", 1, "--filters", 4, "--fc", "16,8")  # a block's result is 20 x 94 MB
    command = ("train", rated, "--net", "scnn", *sizes, "--batch", 20, "--mean", "spec", "--out", tmp_path / "run")
    least = re.search(r"at least (\d+)M", run(*command, "--max-memory", "1M").stderr)
    most = f"{int(least[1]) + 30}M"  # the memory that the process has by then varies by some megabytes
    found = run(*command, "--max-memory", most)
    assert found.returncode == 1, found.stderr
    last = found.stderr.splitlines()[-1]
    assert last == f"error: there is not enough memory to go on within --max-memory {most}; there is no checkpoint yet"


def test_adapting_to_ratings_skips_what_does_not_fit(rated, tmp_path):
    command = ("adapt", "shipped", rated, "--out", tmp_path / "run")
    refused = run(*command, "--max-memory", "1M")
    least = re.search(r"--max-memory 1M is too little .* at least (\d+)M", refused.stderr)
    assert refused.returncode == 2 and least and not (tmp_path / "run").exists(), refused.stderr
    most = int(least[1]) + 60
    found, peak = measured(*command, "--max-memory", f"{most}M")
    assert found.returncode == 0 and peak < most * 2**20, (found.stderr, peak)
    assert re.search(r"skipped: [^\n]*large.png", found.stderr) and "fitted to 24 ratings" in found.stdout
