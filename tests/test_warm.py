"""A forked process behaves like a cold one, as far as its starter can tell."""

from __future__ import annotations

import os
import resource
import shlex
import signal
import subprocess
import sys

import pytest

from tests import warm

STARTED_WITH = """if True:
    import os, resource, signal
    of_shells = ("PWD", "OLDPWD", "SHLVL", "_")
    print(os.getcwd(), sorted(each for each in os.environ.items() if each[0] not in of_shells))
    print(resource.getrlimit(resource.RLIMIT_FSIZE), oct(os.umask(0)))
    print(signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGHUP) == signal.SIG_IGN)
"""
PROGRAMS = {
    "arguments and streams": "import sys; print(sys.argv, [s.encoding for s in (sys.stdin, sys.stdout, sys.stderr)])",
    "what is asked for": "print(input()); import sys; print('x', file=sys.stderr)",
    "a status": "raise SystemExit(7)",
    "a large status": "raise SystemExit(263)",
    "a message": "raise SystemExit('no')",
    "a signal": "import os; os.kill(os.getpid(), 9)",
    "work at the end": "import atexit; atexit.register(print, 'bye'); import sys; sys.stdout.write('first ')",
    "a thread": "import threading; threading.Timer(0.1, lambda: print('late')).start()",
    "its own end": "import os; print('lost'); os._exit(3)",
    "modules by name": "import __main__, pickle\ndef f(): pass\nassert __main__.f is f and pickle.loads(pickle.dumps(f)) is f",
    "what it was started with": STARTED_WITH,
}


def both(*more, **options):
    """The results of a cold process and of a forked one."""
    variables = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    options = {"capture_output": True, "text": True, **options, "env": variables | options.get("env", {})}
    for python in (sys.executable, warm.python()):
        done = subprocess.run([python, *more], check=False, **options)
        yield done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_does_the_same(name, tmp_path):
    cold, forked = both("-c", PROGRAMS[name], "a", "ü b", input="a line\n", cwd=tmp_path)
    assert forked == cold


@pytest.mark.parametrize("error", ["ZeroDivisionError", "KeyboardInterrupt"])
def test_an_error_has_its_traceback(error):
    cold, forked = both("-c", f"raise {error}")
    assert forked[:2] == cold[:2]
    for _, _, said in (cold, forked):
        assert said.startswith("Traceback") and said.endswith(f"\n{error}\n")


def started_oddly():
    os.umask(0o027)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000_000, 6_000_000))


def test_it_has_what_it_was_started_with(tmp_path):
    options = {"preexec_fn": started_oddly, "cwd": tmp_path, "encoding": "latin-1"}
    cold, forked = both("-c", STARTED_WITH, env={"PYTHONIOENCODING": "latin-1", "MORE": "ü"}, **options)
    assert forked == cold and "ü" in cold[1]
    assert cold[1].splitlines()[1:] == ["(5000000, 6000000) 0o27", "<built-in function default_int_handler> True"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-", "> /dev/full"])
def test_streams_that_are_closed_or_full(closed, tmp_path):
    program = """if True:
        import os, sys
        def is_open(number):
            try:
                os.fstat(number)
            except OSError:
                return False
            return True
        with open("found", "w") as file:
            print(*map(is_open, range(5)), *(s is None for s in (sys.stdin, sys.stdout, sys.stderr)), file=file)
        print("said")
    """
    found = []
    for python in (sys.executable, warm.python()):
        line = f"{shlex.join([python, '-c', program])} {closed}"
        variables = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        done = subprocess.run(["bash", "-c", line], capture_output=True, check=False, cwd=tmp_path, env=variables)
        found.append((done.returncode, (tmp_path / "found").read_text(), done.stdout, bool(done.stderr)))
    assert found[0] == found[1]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_signals_reach_it(number):
    """No process is left behind unwaited: it would hold the pipe open."""
    program = "import time; print('there', flush=True); time.sleep(100)"
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([warm.python(), "-c", program], **pipes) as process:
        assert process.stdout.readline() == "there\n"
        process.send_signal(number)
        process.communicate(timeout=60)
    assert process.returncode == -number


def test_a_run_is_the_same_without_a_process_between(tmp_path):
    program = "import os, sys; print(input(), sys.argv, os.getcwd(), os.environ['MORE']); sys.exit(4)"
    done = warm.run(program, ["a", 5], tmp_path, "ü", {"MORE": "x"})
    assert (done.returncode, done.stdout, done.stderr) == (4, f"ü ['-c', 'a', '5'] {tmp_path} x\n", "")
