"""`dcnn-fast score` when an output fails, a stream is closed or a signal comes: the rest is finished, the status tells."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.command import FIELDS, PROGRAM, environment, lines, main, names, rows, score, shell, wait_for


@pytest.fixture
def failing(folder):
    (folder / "bad.png").write_bytes(b"bad")
    return folder


@pytest.mark.parametrize("option", ["--csv", "--jsonl", "--html"])
def test_a_full_disk_costs_one_output_and_is_named_once(model, folder, tmp_path, option):
    others = {"--csv": tmp_path / "s.csv", "--jsonl": tmp_path / "s.jsonl", "--html": tmp_path / "s.html"}
    options = [each for name, path in others.items() for each in (name, "/dev/full" if name == option else path)]
    result = score(model, folder, *options)
    assert result.returncode == 3
    assert result.stderr.count("No space left on device") == 1
    assert f"error: {option} /dev/full: No space left on device" in result.stderr
    assert sum(str(folder) in line for line in result.stdout.splitlines()) == 4
    if option != "--csv":
        assert len(rows(others["--csv"])) == 4
    if option != "--jsonl":
        assert len(lines(others["--jsonl"])) == 4
    if option != "--html":
        assert others["--html"].read_text().count("<figure>") == 4


def test_a_disk_that_fills_up_leaves_whole_rows_and_no_partial_file(model, folder, tmp_path):
    limit = 400  # bytes: room for some rows of the CSV, and for the table's and the record's lines
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); {PROGRAM}"
    options = ["--csv", tmp_path / "s.csv", "--jsonl", tmp_path / "s.jsonl", "--html", tmp_path / "s.html"]
    command = [*main(limited), "score", "--model", model, "--samples", "3", *options]
    for i in range(40):
        os.link(folder / "a.png", folder / f"{i:02}.png")
    result = subprocess.run([*command, folder], capture_output=True, text=True, check=False, env=environment())
    assert result.returncode == 3, result.stderr
    for option, path in zip(options[::2], options[1::2], strict=True):
        assert result.stderr.count(f"error: {option} {path}: File too large") == 1
    assert sum(str(folder) in line for line in result.stdout.splitlines()) == 20
    assert "Traceback" not in result.stderr
    assert (tmp_path / "s.csv").read_bytes().endswith(b"\n")
    assert set(os.listdir(tmp_path)) <= {"photos", "s.csv", "s.jsonl", "s.csv.run.json", "s.jsonl.run.json"}
    for name in ("s.csv", "s.jsonl"):
        if f"{name}.run.json" not in os.listdir(tmp_path):
            (tmp_path / name).unlink()  # its record did not fit
    resumed = score(model, folder, *options, "--resume")
    assert resumed.returncode == 0, resumed.stderr
    assert len(rows(tmp_path / "s.csv")) == len(lines(tmp_path / "s.jsonl")) == 44
    assert (tmp_path / "s.html").read_text().count("<figure>") == 44


def test_a_terminal_that_cannot_print_a_name_prints_an_escape(model, folder, tmp_path):
    os.link(folder / "a.png", folder / "größe.png")
    os.link(folder / "a.png", os.fsencode(folder) + b"/caf\xe9.png")
    for encoding in ({"PYTHONIOENCODING": "ascii"}, {"PYTHONIOENCODING": "latin-1:strict"}, {"LC_ALL": "C", "PYTHONUTF8": "0"}):
        result = score(model, folder, folder / "gone-ü.png", "--html", tmp_path / "s.html", "--overwrite", env=encoding)
        assert result.returncode == 1, result.stderr
        assert "Traceback" not in result.stderr
        assert result.stdout.count("photos/") == 6
        assert (tmp_path / "s.html").read_text().count("<figure>") == 6


@pytest.mark.parametrize(
    ("redirections", "status", "said"),
    [
        ("<&-", 1, None),
        (">&-", 3, "error: standard output: it is closed"),
        ("> /dev/full", 3, "error: standard output: No space left on device"),
        ("2>&-", 1, None),
        ("2> /dev/full", 1, None),
        ("<&- >&- 2>&-", 3, None),
        ("> >(exec true)", 3, "error: standard output: Broken pipe"),
        ("<&- >&- 2> errors", 3, None),
    ],
)
def test_a_closed_full_or_broken_stream_costs_itself_alone(model, failing, tmp_path, redirections, status, said):
    wait = "sleep 3; " if "true" in redirections else ""  # the reader leaves before the table comes
    outputs = "--csv s.csv --jsonl s.jsonl --html s.html"
    line = f"cd '{tmp_path}'; ({wait}score photos {outputs}) {redirections}"
    result = shell(model, line)
    assert result.returncode == status, result.stderr
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr
    if said is not None:
        assert result.stderr.count(said) == 1
    assert len(rows(tmp_path / "s.csv")) == len(lines(tmp_path / "s.jsonl")) == 5
    assert (tmp_path / "s.html").read_text().count("<figure>") == 4


def test_no_file_takes_the_number_of_a_closed_stream(tmp_path):
    code = "from dcnn_fast.cli.descriptors import occupy_closed; occupy_closed(); "
    code += "number = open('other', 'w').fileno(); open('number', 'w').write(str(number))"
    for closed in ("<&-", ">&-", "2>&-", "<&- >&- 2>&-"):
        line = f"cd '{tmp_path}'; '{sys.executable}' -c \"{code}\" {closed}"
        assert subprocess.run(["bash", "-c", line], check=False, env=environment()).returncode == 0
        assert int((tmp_path / "number").read_text()) > 2


def test_paths_from_a_closed_standard_input_are_one_line(model, tmp_path):
    for typed in ("", "-"):
        result = shell(model, f"cd '{tmp_path}'; score {typed} --csv s.csv <&-")
        assert result.returncode == 2
        assert result.stderr == "error: standard input is closed: name files or folders\n"
    assert not list(tmp_path.iterdir())
    refused = shell(model, f"cd '{tmp_path}'; score . --csv - >&-")
    assert refused.returncode == 2 and refused.stderr == "error: --csv: -: standard output is closed\n"


def test_a_reader_that_leaves_ends_a_run_that_writes_for_it_alone(model, folder, tmp_path):
    for i in range(300):
        os.link(folder / "a.png", folder / f"{i:03}.png")
    result = shell(model, f"score '{folder}' --csv - | head -n 1")
    assert result.returncode == 3
    assert result.stdout == ",".join(FIELDS) + "\n"
    assert result.stderr.count("error: --csv -: Broken pipe") == 1
    assert "Traceback" not in result.stderr and "Exception ignored" not in result.stderr
    both = shell(model, f"score '{folder}' --csv - --jsonl '{tmp_path}/s.jsonl' | head -n 1")
    assert both.returncode == 3
    assert len(lines(tmp_path / "s.jsonl")) == 304


def test_help_to_a_full_device_is_one_line(model):
    result = shell(model, "score --help > /dev/full")
    assert result.returncode == 3
    assert result.stderr == "error: standard output: No space left on device\n"


def started(model, folder, tmp_path, *options, before="", **more):
    """A run that waits for more names, with at least five rows in its CSV."""
    for i in range(60):
        os.link(folder / "a.png", folder / f"{i:02}.png")
    command = [*main(before + PROGRAM), "score", "-", "--model", model, "--samples", "3", *options]
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        list(map(str, command)), stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment(), **more
    )
    assert process.stdin is not None
    process.stdin.write("".join(f"{folder}/{i:02}.png\n" for i in range(40)))
    process.stdin.flush()  # not closed: the run must not finish before it is interrupted
    table = tmp_path / "s.csv"
    while process.poll() is None and not (table.exists() and len(table.read_text().splitlines()) > 5):
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_valid_files_that_resume_completes(model, folder, tmp_path, signum):
    table, objects, sheet = (tmp_path / f"s.{kind}" for kind in ("csv", "jsonl", "html"))
    options = ["--csv", table, "--jsonl", objects, "--html", sheet]
    process = started(model, folder, tmp_path, *options)
    process.send_signal(signum)
    process.wait(timeout=60)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + signum, stderr
    assert "--resume" in stderr and "Traceback" not in stderr
    assert "rank" in stdout
    done = rows(table)
    assert 5 <= len(done) < 64
    assert len(lines(objects)) == len(done)
    assert sheet.read_text().count("<figure>") == len(done)
    assert not [name for name in os.listdir(tmp_path) if name.startswith(".")]
    result = score(model, folder, *options, "--resume")
    assert result.returncode == 0, result.stderr
    assert len(set(names(table))) == len(rows(table)) == len(lines(objects)) == 64


@pytest.mark.parametrize("signum", [signal.SIGHUP, signal.SIGINT])
def test_a_signal_that_was_ignored_at_the_start_stays_ignored(model, folder, tmp_path, signum):
    ignoring = {"preexec_fn": lambda: signal.signal(signum, signal.SIG_IGN)}  # nohup and background jobs are started like this
    process = started(model, folder, tmp_path, "--csv", tmp_path / "s.csv", **ignoring)
    process.send_signal(signum)
    _, stderr = process.communicate("", timeout=60)
    assert process.returncode == 0, stderr
    assert len(rows(tmp_path / "s.csv")) == 40


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_second_signal_ends_the_run_at_once(model, folder, tmp_path, signum):
    # The first run waits for a reader of the table that never comes: a pipe that is already full.
    fill = (
        "import os; os.set_blocking(1, False)\ntry:\n    while os.write(1, b'x' * 4096): pass\nexcept BlockingIOError: pass\n"
    )
    fill += "os.set_blocking(1, True)\n"
    process = started(model, folder, tmp_path, "--csv", tmp_path / "s.csv", before=fill)
    process.send_signal(signum)
    time.sleep(1)
    assert process.poll() is None
    process.send_signal(signum)
    assert process.wait(timeout=60) == -signum
    assert process.stderr is not None and "Traceback" not in process.stderr.read()


def test_a_run_that_is_interrupted_before_its_first_row_leaves_the_old_rows(model, folder, tmp_path):
    table = tmp_path / "s.csv"
    assert score(model, folder, "--csv", table).returncode == 0
    before = table.read_bytes()
    command = [*main(), "score", "--model", str(model), "--csv", str(table), "--overwrite"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment())
    wait_for(process, tmp_path / ".s.csv.run.json.lock")
    process.terminate()
    process.wait(timeout=60)  # the list of photographs, which ends below, must not end before the signal
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 143, stderr
    assert "Traceback" not in stderr
    assert table.read_bytes() == before
