"""A run neither depends on nor changes the process's global settings."""

from __future__ import annotations

import locale
import logging
import os
import random
import signal
import warnings
from contextlib import contextmanager

import matplotlib as mpl
import numpy as np
import pytest
import torch

from dcnn_fast.training import Settings, train
from dcnn_fast.training.needs import generator_of
from tests.training import sets

SETTINGS = Settings(epochs=2, batch=8, flip=True)


@contextmanager
def set_to(get, change, value):
    before = get()
    change(value)
    try:
        yield
    finally:
        change(before)


@contextmanager
def numpy_raises():
    with np.errstate(all="raise"):
        yield


@contextmanager
def warnings_raise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


OTHERWISE = {
    "default dtype": lambda: set_to(torch.get_default_dtype, torch.set_default_dtype, torch.float64),
    "default device": lambda: torch.device("meta"),
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "matmul precision": lambda: set_to(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision, "medium"),
    "deterministic": lambda: set_to(torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms, True),
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "numpy raises": numpy_raises,
    "warnings raise": warnings_raise,
    "matplotlib": lambda: mpl.rc_context({"savefig.dpi": 30, "axes.grid": True}),
}


def state():
    """The global state that a run must not change."""
    return {
        "dtype": torch.get_default_dtype(), "device": torch.get_default_device(), "grad": torch.is_grad_enabled(),
        "inference": torch.is_inference_mode_enabled(), "autocast": torch.is_autocast_enabled("cpu"),
        "threads": torch.get_num_threads(), "precision": torch.get_float32_matmul_precision(),
        "convolutions": torch.backends.mkldnn.conv.fp32_precision, "onednn": torch.backends.mkldnn.enabled,
        "deterministic": torch.are_deterministic_algorithms_enabled(), "torch": torch.get_rng_state().tolist(),
        "numpy": repr(np.random.get_state()), "python": random.getstate(), "errors": np.geterr(),
        "warnings": list(warnings.filters), "locale": locale.setlocale(locale.LC_ALL),
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)],
        "environment": dict(os.environ), "folder": os.getcwd(), "umask": _umask(), "loggers": list(logging.root.handlers),
        "matplotlib": dict(mpl.rcParams), "backend": mpl.get_backend(auto_select=False),
    }  # fmt: skip


def _umask():
    mask = os.umask(0o22)
    os.umask(mask)
    return mask


def trained(net, out):
    outcome = train(net, sets.data_set(24, 8), SETTINGS, out, workers=1)
    return sets.without_times(outcome.history), sets.weights(net), (out / "log.csv").exists()


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return trained(sets.net(), tmp_path_factory.mktemp("plain") / "run")


@pytest.mark.parametrize("name", OTHERWISE)
def test_what_the_process_has_set_changes_nothing_and_stays(plain, tmp_path, name):
    net = sets.net()
    with OTHERWISE[name]():
        before = state()
        history, weights, logged = trained(net, tmp_path / "run")
        assert state() == before
    assert history == plain[0] and logged
    for key, tensor in weights.items():
        assert torch.equal(tensor, plain[1][key]), key


def test_a_run_that_fails_leaves_everything_as_it_was(tmp_path):
    net = sets.net()
    before = state()
    with pytest.raises(ArithmeticError):
        train(net, sets.data_set(24, 8), Settings(epochs=9, batch=8, rate=1e9), tmp_path / "run")
    assert state() == before


def test_the_generator_of_other_devices_is_not_touched():
    """torch.manual_seed also seeds every GPU's generator, or queues that until CUDA starts."""
    waiting = len(torch.cuda._queued_calls)
    generator_of(torch.device("cpu")).manual_seed(3)
    first = torch.rand(3)
    generator_of(torch.device("cpu")).manual_seed(3)
    assert torch.equal(torch.rand(3), first) and len(torch.cuda._queued_calls) == waiting


def test_a_network_made_in_inference_mode_is_refused(tmp_path):
    with torch.inference_mode():
        net = sets.net()
    with pytest.raises(ValueError, match=r"net must not have been made in torch\.inference_mode"):
        train(net, sets.data_set(8, 0), SETTINGS, tmp_path / "run")
    assert not list(tmp_path.iterdir())
