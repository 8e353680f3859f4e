"""Settings of torch, numpy and Python that a program may have made, each applied for a while and checked afterwards."""

from __future__ import annotations

import gc
import locale
import os
import subprocess
import sys
import tempfile
import warnings
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch


def attribute(owner, name, value):
    @contextmanager
    def set_it():
        before = getattr(owner, name)
        setattr(owner, name, value)
        try:
            yield
            assert getattr(owner, name) == value, f"{name} did not stay as it was set"
            assert type(getattr(owner, name)) is type(value), f"{name} is of another type than it was set"
        finally:
            setattr(owner, name, before)

    return set_it


def called(setter, getter, value):
    @contextmanager
    def set_it():
        before = getter()
        setter(value)
        try:
            yield
            assert getter() == value, f"{setter.__name__} did not stay as it was set"
        finally:
            setter(before)

    return set_it


@contextmanager
def denormals_flushed():
    torch.set_flush_denormal(True)
    try:
        yield
        assert np.float32(1e-40) * np.float32(1) == 0
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def numpy_raises():
    with np.errstate(all="raise"):
        yield
        assert set(np.geterr().values()) == {"raise"}


@contextmanager
def default_device():
    torch.set_default_device("meta")
    try:
        yield
        assert torch.empty(1).device.type == "meta"
    finally:
        torch.set_default_device(None)


@contextmanager
def warnings_raise():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        yield
        assert list(warnings.filters) == before


@contextmanager
def decimal_commas():
    """A locale that writes 1,5 for one and a half, made here: a machine may have none, and no means to make one."""
    before, path = locale.setlocale(locale.LC_ALL), os.environ.get("LOCPATH")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "source")
        copied = ("CTYPE", "COLLATE", "TIME", "MESSAGES", "MONETARY", "PAPER", "NAME", "ADDRESS", "TELEPHONE", "MEASUREMENT")
        numbers = 'LC_NUMERIC\ndecimal_point "<U002C>"\nthousands_sep "<U002E>"\ngrouping 3;3\nEND LC_NUMERIC\n'
        source.write_text("".join(f'LC_{name}\ncopy "POSIX"\nEND LC_{name}\n' for name in copied) + numbers)
        subprocess.run(["localedef", "-c", "-i", source, "-f", "UTF-8", f"{folder}/commas"], capture_output=True, check=False)
        os.environ["LOCPATH"] = folder
        try:
            with suppress(locale.Error):
                locale.setlocale(locale.LC_NUMERIC, "commas")
            point = locale.localeconv()["decimal_point"]
            yield
            assert locale.localeconv()["decimal_point"] == point
        finally:
            locale.setlocale(locale.LC_ALL, before)
            os.environ.pop("LOCPATH") if path is None else os.environ.update(LOCPATH=path)


MKLDNN = torch.backends.mkldnn

SETTINGS = {
    "autocast": lambda: torch.autocast("cpu", torch.bfloat16),
    "inference mode": torch.inference_mode,
    "gradients": torch.enable_grad,
    "anomalies": lambda: torch.autograd.set_detect_anomaly(True),
    "autocast to float16": lambda: torch.autocast("cpu", torch.float16),
    "float64": called(torch.set_default_dtype, torch.get_default_dtype, torch.float64),
    "bfloat16": called(torch.set_default_dtype, torch.get_default_dtype, torch.bfloat16),
    "float16": called(torch.set_default_dtype, torch.get_default_dtype, torch.float16),
    "meta device": default_device,
    "one thread": called(torch.set_num_threads, torch.get_num_threads, 1),
    "five threads": called(torch.set_num_threads, torch.get_num_threads, 5),
    "products in bf16": called(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision, "medium"),
    "convolutions in bf16": attribute(MKLDNN.conv, "fp32_precision", "bf16"),
    "oneDNN in bf16": attribute(MKLDNN, "fp32_precision", "bf16"),
    "all in tf32": attribute(torch.backends, "fp32_precision", "tf32"),
    "no oneDNN": called(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled, False),
    "deterministic": called(torch.use_deterministic_algorithms, torch.are_deterministic_algorithms_enabled, True),
    "flushed denormals": denormals_flushed,
    "numpy raises": numpy_raises,
    "warnings raise": warnings_raise,
    "decimal commas": decimal_commas,
    "no collection": called(lambda on: gc.enable() if on else gc.disable(), gc.isenabled, False),
    "quick switching": called(sys.setswitchinterval, sys.getswitchinterval, 1e-6),
}
