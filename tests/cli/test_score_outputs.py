"""`dcnn-fast score` destroys nothing: no input, no foreign file, and no rows of an earlier run unless asked to."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from urllib.parse import unquote

import pytest

from dcnn_fast import save_model
from tests import small
from tests.cli.command import FIELDS, PROGRAM, VIEWS, environment, files_of, main, names, rows, score, shell, wait_for

OURS = "path,mean,std,label,views,seed,error,percentile\n"


@pytest.mark.parametrize(
    ("option", "typed"),
    [
        ("--csv", "same"),
        ("--jsonl", "same"),
        ("--html", "same"),
        ("--csv", "dotted"),
        ("--jsonl", "hard link"),
        ("--html", "link"),
        ("--csv", "in a listed folder"),
        ("--jsonl", "the model"),
    ],
)
def test_an_output_that_is_an_input_is_refused_and_left_as_it_is(model, folder, tmp_path, option, typed):
    photograph = folder / "a.png"
    (tmp_path / "copy.safetensors").write_bytes(model.read_bytes())
    output = {
        "same": photograph, "dotted": f"{folder}/sub/../a.png", "hard link": tmp_path / "hard", "link": tmp_path / "link",
        "in a listed folder": photograph, "the model": tmp_path / "copy.safetensors",
    }[typed]  # fmt: skip
    os.link(photograph, tmp_path / "hard")
    os.symlink(photograph, tmp_path / "link")
    named = folder if typed == "in a listed folder" else photograph
    before = files_of(tmp_path)
    result = score(tmp_path / "copy.safetensors", named, option, output, "--overwrite")
    assert result.returncode == 2
    assert result.stderr.startswith(f"error: {option}: {output} is one of the inputs")
    assert result.stderr.count("\n") == 1
    assert files_of(tmp_path) == before


def test_an_option_that_swallows_the_first_of_many_photographs_costs_none(model, folder, tmp_path):
    before = files_of(tmp_path)
    for option in ("--csv", "--jsonl", "--html"):
        result = shell(model, f"score {option} '{folder}'/*.png")
        assert result.returncode == 2
        assert "holds something else than" in result.stderr
    assert files_of(tmp_path) == before


@pytest.mark.parametrize(
    ("option", "make", "message"),
    [
        ("--csv", lambda path: path.mkdir(), "is a folder"),
        ("--html", lambda path: path.mkdir(), "is a folder"),
        ("--csv", lambda path: path.write_text("my notes"), "holds something else than"),
        ("--jsonl", lambda path: path.write_text('{"my": "notes"}'), "holds something else than"),
        ("--html", lambda path: path.write_bytes(b"\0\x01"), "holds something else than"),
        ("--jsonl", lambda path: path.symlink_to(path), "Too many levels of symbolic links"),
    ],
)
def test_what_is_not_the_programs_own_is_refused_even_with_overwrite(model, folder, tmp_path, option, make, message):
    output = tmp_path / "output"
    make(output)
    before = files_of(tmp_path)
    result = score(model, folder, option, output, "--overwrite")
    assert result.returncode == 2
    assert f"error: {option}: {output}" in result.stderr and message in result.stderr
    assert "Traceback" not in result.stderr
    assert files_of(tmp_path) == before


def test_files_of_an_earlier_run_are_replaced_only_when_asked(model, folder, tmp_path):
    outputs = {name: tmp_path / f"s.{name}" for name in ("csv", "jsonl", "html")}
    options = [each for name, path in outputs.items() for each in (f"--{name}", path)]
    assert score(model, folder, *options).returncode == 0
    before = files_of(tmp_path)
    for name, path in outputs.items():
        refused = score(model, folder / "a.png", f"--{name}", path)
        assert refused.returncode == 2
        assert f"error: --{name}: {path} exists; --overwrite replaces it" in refused.stderr
    assert files_of(tmp_path) == before
    assert score(model, folder / "a.png", *options, "--overwrite").returncode == 0
    assert names(outputs["csv"]) == ["a.png"]
    assert len(outputs["jsonl"].read_text().splitlines()) == 1
    assert outputs["html"].read_text().count("<figure>") == 1
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "s.csv", "s.csv.run.json", "s.html", "s.jsonl", "s.jsonl.run.json",
    ]  # no lock and no partial file is left  # fmt: skip


def test_links_are_written_through_and_modes_kept(model, folder, tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    for name in ("s.csv", "s.html"):
        (real / name).touch()
        (real / name).chmod(0o640)
        (tmp_path / name).symlink_to(real / name)
    (tmp_path / "s.jsonl").symlink_to(real / "new.jsonl")  # the target does not exist yet
    options = [each for name in ("csv", "html", "jsonl") for each in (f"--{name}", tmp_path / f"s.{name}")]
    assert score(model, folder, *options).returncode == 0
    assert all((tmp_path / f"s.{name}").is_symlink() for name in ("csv", "html", "jsonl"))
    assert len(rows(real / "s.csv")) == len((real / "new.jsonl").read_text().splitlines()) == 4
    links = re.findall(r'<a href="([^"]*)"', (real / "s.html").read_text())
    assert len(links) == 4 and all((real / unquote(link)).is_file() for link in links)  # relative to the page
    assert (real / "s.csv").stat().st_mode & 0o777 == (real / "s.html").stat().st_mode & 0o777 == 0o640
    assert (real / "s.csv.run.json").exists() and not (tmp_path / "s.csv.run.json").exists()


@pytest.mark.parametrize("option", ["--csv", "--jsonl", "--html"])
def test_devices_and_pipes_are_written_straight(model, folder, tmp_path, option):
    first = {"--csv": ",".join(FIELDS) + "\n", "--jsonl": '{"probs"', "--html": "<!doctype html>"}[option]
    for name in ("-", "/dev/stdout", "/dev/fd/1") if option == "--html" else ("-",):
        result = score(model, folder / "a.png", option, name)
        assert result.returncode == 0, result.stderr
        assert result.stdout.startswith(first)
        assert "P(high)" in result.stderr  # the table moves to standard error
        assert "std over samples" not in result.stdout
    result = shell(
        model, f"mkfifo '{tmp_path}/pipe'; cat '{tmp_path}/pipe' & score '{folder}/a.png' {option} '{tmp_path}/pipe'; wait"
    )
    assert first in result.stdout and "std over samples" in result.stdout
    appended = shell(model, f"echo before > '{tmp_path}/log'; score '{folder}/a.png' {option} /dev/stdout >> '{tmp_path}/log'")
    assert appended.returncode == 0
    assert (tmp_path / "log").read_text().startswith("before\n" + first)
    assert os.path.islink("/dev/stdout") and (tmp_path / "pipe").is_fifo()
    assert score(model, folder / "a.png", option, "/dev/null").returncode == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--csv - --jsonl -", "error: --jsonl: - is what --csv writes to as well"),
        ("--csv - --html /dev/stdout", "error: --html: /dev/stdout is what --csv writes to as well"),
        ("--csv s --jsonl ./s", "error: --jsonl: s is the file of --csv as well"),
        ("--csv s --html link", "error: --html: link is the file of --csv as well"),
        ("--csv s > s", "error: --csv: s is where standard output goes"),
        ("--csv - --resume", "error: --resume: --csv - is no file that can be gone on with"),
        ("--csv s --jsonl s.run.json", "error: --jsonl: s.run.json is the record that --csv has beside it"),
        ("--csv /dev/stdin < link", "error: --csv: /dev/stdin is not open for writing"),
    ],
)
def test_outputs_that_would_mix_are_refused(model, folder, tmp_path, options, message):
    (tmp_path / "link").symlink_to("s")
    (tmp_path / "s").touch()
    result = shell(model, f"cd '{tmp_path}'; score photos {options}")
    assert result.returncode == 2
    assert message in result.stderr
    assert (tmp_path / "s").read_bytes() == b""


def test_two_runs_on_one_file_exclude_each_other(model, folder, tmp_path):
    options = ["--csv", "s.csv", "--jsonl", "s.jsonl", "--html", "s.html"]
    first = subprocess.Popen(
        [*main(), "score", "--model", model, *options], cwd=tmp_path, env=environment(), stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    first.stdin.write(f"{folder}/a.png\n{folder}/gone.png\n")
    first.stdin.flush()
    wait_for(first, tmp_path / ".s.html.lock")  # the run now waits for more names
    for option, name in zip(options[::2], options[1::2], strict=True):
        for more in ("--overwrite", "--resume"):
            if (option, more) != ("--html", "--resume"):
                second = score(model, folder, option, name, more, cwd=tmp_path)
                assert second.returncode == 2
                assert f"error: {option}: {name} is being written by another run" in second.stderr
    _, stderr = first.communicate("", timeout=60)
    assert first.returncode == 1, stderr
    assert names(tmp_path / "s.csv") == ["a.png", "gone.png"]
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    assert score(model, folder, "--csv", "s.csv", "--overwrite", cwd=tmp_path).returncode == 0


LOCKS = {
    "a photograph": ("{v}/.p.csv.lock {v}/a.png --csv {v}/p.csv", "{v}/.p.csv.lock"),
    "a foreign file": ("{v} --csv c.csv", ".c.csv.lock"),
    "a foreign file of a sheet": ("{v} --html c.html", ".c.html.lock"),
    "a foreign file of a record": ("{v} --csv c.csv", ".c.csv.run.json.lock"),
    "a link": ("{v} --csv c.csv", ".c.csv.lock"),
    "a hard link": ("{v} --csv c.csv", ".c.csv.lock"),
    "a folder": ("{v} --csv c.csv", ".c.csv.lock"),
    "a pipe": ("{v} --csv c.csv", ".c.csv.lock"),
    "an empty input": ("{v} .c.csv.lock --csv c.csv", ".c.csv.lock"),
    "the sheet": ("{v} --csv g.csv --html .g.csv.lock", None),
    "the jsonl": ("{v} --csv g.csv --jsonl .g.csv.lock", None),
    "the sheet, of a record": ("{v} --csv i.csv --html .i.csv.run.json.lock", None),
    "standard output": ("{v} --csv i.csv > .i.csv.lock", None),
}


@pytest.mark.parametrize("case", LOCKS)
def test_what_stands_where_a_lock_would_is_refused_and_left(model, folder, tmp_path, case):
    line, name = (text and text.format(v="photos") for text in LOCKS[case])
    (tmp_path / "other").write_text("")
    lock = tmp_path / (name or "none")
    match case:
        case "a photograph":
            lock.write_bytes((folder / "a.png").read_bytes())
        case "a link":
            lock.symlink_to(tmp_path / "other")
        case "a hard link":
            os.link(tmp_path / "other", lock)
        case "a folder":
            lock.mkdir()
        case "a pipe":
            os.mkfifo(lock)
        case "an empty input":
            lock.touch()
        case _ if name is not None:
            lock.write_text("precious")
    before = files_of(tmp_path)
    if case == "standard output":
        result = shell(model, f"cd '{tmp_path}'; score {line}")
    else:
        result = score(model, *line.split(), cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert result.stderr.startswith("error: --") and result.stderr.count("\n") == 1
    assert ".lock" in result.stderr
    after = files_of(tmp_path)
    assert after == before or (case == "standard output" and after == {**before, str(tmp_path / ".i.csv.lock"): b""})


@pytest.mark.parametrize("how", ["removed", "replaced", "its folder removed"])
@pytest.mark.parametrize("option", ["--csv", "--jsonl"])
def test_a_file_that_is_lost_while_it_is_written_is_a_failed_output(model, folder, tmp_path, option, how):
    (tmp_path / "out").mkdir()
    output, other = tmp_path / "out" / "s", tmp_path / "other"
    outputs = [option, output, "--jsonl" if option == "--csv" else "--csv", other]
    process = subprocess.Popen(
        [*main(), "score", "--model", model, "--batch", "1", *outputs],
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    sent = 0
    while not output.exists():  # names are read ahead of the rows
        assert process.poll() is None and sent < 1000
        process.stdin.write(f"{folder}/{sent}.png\n")
        process.stdin.flush()
        sent += 1
        time.sleep(0.05)
    if how == "replaced":
        (tmp_path / "new").touch()
        (tmp_path / "new").rename(output)
    elif how == "removed":
        output.unlink()
    else:
        while (tmp_path / "out").exists():  # again if a file appeared while the folder was being emptied
            shutil.rmtree(tmp_path / "out", ignore_errors=True)
    _, stderr = process.communicate("", timeout=60)
    assert process.returncode == 3, stderr
    assert f"error: {option} {output}: it was removed or replaced while it was written" in stderr
    assert len(other.read_text().splitlines()) == sent + (option == "--jsonl")  # the CSV has a header line


def test_two_runs_on_hard_links_of_one_file_exclude_each_other(model, folder, tmp_path):
    assert score(model, folder / "b.JPG", "--csv", "s.csv", cwd=tmp_path).returncode == 0
    os.link(tmp_path / "s.csv", tmp_path / "t.csv")
    shutil.copy(tmp_path / "s.csv.run.json", tmp_path / "t.csv.run.json")
    before = (tmp_path / "s.csv").read_bytes()
    first = subprocess.Popen(
        [*main(), "score", "--model", model, "--samples", str(VIEWS), "--csv", "s.csv", "--resume"], cwd=tmp_path,
        env=environment(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    wait_for(first, tmp_path / ".s.csv.run.json.lock")
    for more in ("--resume", "--overwrite"):
        second = score(model, folder / "c.webp", "--csv", "t.csv", more, cwd=tmp_path)
        assert second.returncode == 2
        assert "error: --csv: t.csv is being written by another run" in second.stderr
    assert (tmp_path / "s.csv").read_bytes() == before
    _, stderr = first.communicate(f"{folder}/a.png\n", timeout=60)
    assert first.returncode == 0, stderr
    assert names(tmp_path / "s.csv") == ["b.JPG", "a.png"]
    assert score(model, folder / "c.webp", "--csv", "t.csv", "--resume", cwd=tmp_path).returncode == 0


def test_names_of_255_bytes_are_written(model, folder, tmp_path):
    for option, suffix in (("--csv", ".csv"), ("--jsonl", ".jsonl"), ("--html", ".html")):
        output = tmp_path / ("ü" * 120 + "x" * (15 - len(suffix)) + suffix)
        assert len(os.fsencode(output.name)) == 255
        assert score(model, folder, option, output).returncode == 0
        assert output.stat().st_size > 0
    assert score(model, folder, "--csv", tmp_path / ("ü" * 120 + "x" * 11 + ".csv"), "--resume").returncode == 0
    refused = score(model, folder, "--csv", tmp_path / ("x" * 256))
    assert refused.returncode == 2 and "File name too long" in refused.stderr


def test_a_killed_run_leaves_the_former_sheet_and_no_other_file(model, folder, tmp_path):
    output = tmp_path / "s.html"
    assert score(model, folder / "a.png", "--html", output).returncode == 0
    former = output.read_bytes()
    # A limit on file sizes makes the write of the new page fail midway.
    limited = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)); " + PROGRAM
    command = [*main(limited), "score", "--model", model, folder, "--html", output, "--overwrite"]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    assert result.returncode == 3
    assert f"error: --html {output}: File too large" in result.stderr
    assert result.stdout.count(str(folder)) == 4
    assert output.read_bytes() == former
    assert sorted(os.listdir(tmp_path)) == ["photos", "s.html"]


def test_labels_and_names_are_shown_as_they_are(model, folder, tmp_path):
    save_model(small.model(labels=("[/] low", "[bold]\x1b[31mhigh<b>")), tmp_path / "strange.safetensors")
    for name in ("[/x].png", "[red]a[/red].png", "\x1b[31mred.png", ":smile:.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        os.link(folder / "a.png", folder / name)
    result = score(tmp_path / "strange.safetensors", folder, "-r", "--html", tmp_path / "s.html", "--csv", tmp_path / "s.csv")
    assert result.returncode == 0, result.stderr
    for text in ("[/x].png", "[red]a[/red].png", "\\x1b[31mred.png", ":smile:.png"):
        assert text in result.stdout
    assert "[/] low" in result.stdout or "[bold]\\x1b[31mhigh<b>" in result.stdout
    assert "\x1b" not in result.stdout + result.stderr
    assert "high<b>" not in (tmp_path / "s.html").read_text()
    again = score(tmp_path / "strange.safetensors", folder, "-r", "--csv", tmp_path / "s.csv", "--resume")
    assert again.returncode == 0, again.stderr
    assert again.stdout == result.stdout
