"""Fixtures for all tests, and the rule that a skip is a failure unless its reason is one of two (docs/design.md#tests)."""

from __future__ import annotations

import argparse
import ctypes
import os
import re
import signal
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from tests import seconds, tidy
from tests.ops.on_cpu import DEVICE_VARIABLE

ALLOWED_SKIPS = ("needs a CUDA device", "needs the data folder")


def pytest_addoption(parser: pytest.Parser) -> None:
    seconds.add_options(parser)
    parser.addoption(
        "--device", type=_device, default="cpu",
        help="cuda or cuda:N: the tests of operations run their kernels on a GPU instead of in the PTX simulator, and those of "
        "real CUDA tensors are run; sim: those run on tensors of the cpu, in the simulator",
    )  # fmt: skip


def _device(name: str) -> str:
    if re.fullmatch(r"cpu|sim|cuda(:\d+)?", name) is None:
        raise argparse.ArgumentTypeError(f"must be cpu, cuda, cuda:N or sim, got {name!r}")
    return name


def pytest_configure(config: pytest.Config) -> None:
    # Programs keep ignoring signals that their starter ignores (nohup, a background job). Programs started by tests
    # must not depend on how the tests were started.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    config.pluginmanager.register(tidy.Tidy())
    config.pluginmanager.register(seconds.Seconds(config.getoption("seconds_table"), config.getoption("write_seconds")))
    device = config.getoption("device")
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            raise pytest.UsageError(f"--device {device} needs a CUDA device")
        os.environ[DEVICE_VARIABLE] = device


@pytest.fixture
def data_dir() -> Path:
    """The folder of real data named by DCNN_FAST_DATA; skips without it."""
    folder = os.environ.get("DCNN_FAST_DATA")
    if not folder:
        pytest.skip("needs the data folder")
    return Path(folder)


@pytest.fixture(autouse=True, scope="module")
def _freed_memory(request: pytest.FixtureRequest) -> Iterator[None]:
    """Clear the caches of a file's tests and return freed memory to the system: a process's peak is its largest test's."""
    yield
    for module in (request.module, sys.modules.get("tests.ops.tester")):
        for found in () if module is None else list(vars(module).values()):
            if hasattr(found, "cache_clear") and getattr(found, "__module__", None) == module.__name__:
                found.cache_clear()
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):  # glibc's
        trim(0)


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """Every test starts with, and leaves, the number of torch threads it found."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect the C++ engine's tests where it was not built; an engine that does not load still fails them.

    So are those of the tile unit in software where the processor, without AVX-512, cannot run it.
    """
    from dcnn_fast import engine  # noqa: PLC0415 - as below

    lacking = set()
    if find_spec("dcnn_fast._engine") is None:
        lacking.add("needs_engine")
    if not engine.emulated_isas():
        lacking.add("needs_emulated_tiles")
    left_out = {item for item in items if any(item.get_closest_marker(name) for name in lacking)}
    config.hook.pytest_deselected(items=list(left_out))
    items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        program = reason.removeprefix("needs the program ")
        # In CI every program is installed, except those that .ci/run tried to install and could not.
        may_lack = program != reason and (not os.environ.get("CI") or program in _not_to_be_had())
        if reason not in ALLOWED_SKIPS and not may_lack:
            report.outcome = "failed"
            report.longrepr = f"skipped for a reason that is not allowed: {reason}"
    return report


def _not_to_be_had() -> list[str]:
    return os.environ.get("DCNN_FAST_NOT_TO_BE_HAD", "").split()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    from dcnn_fast import engine  # noqa: PLC0415 - importing it before any test does would hide what its import does

    data = os.environ.get("DCNN_FAST_DATA")
    terminalreporter.write_line(f"C++ engine: {engine.describe()}")
    terminalreporter.write_line(f"real data: {'yes' if data else 'no (set DCNN_FAST_DATA)'}")
    if lacking := _not_to_be_had():
        terminalreporter.write_line(f"programs that could not be installed, whose tests were left out: {', '.join(lacking)}")
