"""CUDA C++ by NVRTC: every target, the cache under concurrent and killed processes, damaged files, launch arguments."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import ptxsim
from dcnn_fast.ops import cuda_compile, cuda_launch
from dcnn_fast.ops.cuda_compile import CudaCompileError, compiled
from dcnn_fast.ops.gpus import CAPABILITIES, LEAST_CAPABILITY
from dcnn_fast.ops.launch import CudaKernel, Launch, cuda_refused, launch
from devtools import aot, sass
from devtools.simulated import simulated
from tests.ops.cuda_copy import COMPILERS, copied, ptx_by
from tests.ops.guarded import assert_untouched, output

TARGETS = [capability for capability in CAPABILITIES if capability >= LEAST_CAPABILITY]
SCALED = CudaKernel("scaled.cu", "scaled_kernel", ("x", "y", "count", "offset"))
SLOW = "__global__ void k(double* x) { double y = x[0];\n" + "y = sin(y) * cos(y + 1);\n" * 60 + "x[1] = y; }\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return cuda_compile.kernel_folder()


@pytest.fixture
def folder(tmp_path):
    return copied(tmp_path / "sources")


def _kept(cache):
    return sorted(cache.glob("*.kernel"))


@pytest.mark.parametrize("capability", TARGETS)
def test_every_source_compiles_alone_for_every_target_without_a_spill(capability):
    for file in cuda_compile.sources().rglob("*.cu"):
        code = compiled(str(file.relative_to(cuda_compile.sources())), {}, capability)
        assert f".target {cuda_compile.architecture(capability)}" in code.ptx
        assert code.cubin.startswith(b"\x7fELF")
        assert sass.read(code.cubin).stack == 0
        assert code.log == ""


def test_a_launch_runs_in_the_simulator(folder, cache):
    x = torch.linspace(-3, 3, 333)
    y, guard = output((333,), torch.float16)
    what = Launch(SCALED, (3,), {"x": x, "y": y, "count": 333, "offset": 0.5}, {"FACTOR": 3.0}, warps=4, shared=512)
    with simulated(86, sources=folder) as launches:
        assert cuda_refused(torch.device("cpu")) is None
        launch(what)
    torch.testing.assert_close(y, (3 * x + 0.5).half(), rtol=0, atol=0)
    assert_untouched(guard)
    ((_, report),) = launches
    assert report.blocks == 3
    assert cuda_refused(torch.device("cpu")) == "CUDA C++ kernels run on cuda, not on cpu"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_both_compilers_give_the_same_result(folder, cache, tmp_path, compiler):
    ptx = ptx_by(compiler, folder, "scaled.cu", {"FACTOR": 3.0}, tmp_path)
    x = torch.linspace(-3, 3, 100)
    y, guard = output((100,), torch.float16)
    ptxsim.launch(ptx, "scaled_kernel", 1, 128, [x, y, 100, 0.5], shared=512)
    torch.testing.assert_close(y, (3 * x + 0.5).half(), rtol=0, atol=0)
    assert_untouched(guard)


def test_a_kept_result_is_taken_and_anything_that_differs_is_compiled(folder, cache):
    first = compiled("scaled.cu", {"FACTOR": 3.0}, 80, folder)
    (kept,) = _kept(cache)
    cuda_compile._write(kept, cuda_compile.CudaCode(first.ptx, first.cubin, "kept"))
    assert compiled("scaled.cu", {"FACTOR": 3.0}, 80, folder).log == "kept"
    assert compiled("scaled.cu", {"FACTOR": 2.5}, 80, folder).log == ""
    assert compiled("scaled.cu", {"FACTOR": 3.0}, 90, folder).log == ""
    header = folder / "intrinsics.cuh"
    header.write_text(header.read_text() + "\n// another comment\n")
    assert compiled("scaled.cu", {"FACTOR": 3.0}, 80, folder).log == ""
    assert len(_kept(cache)) == 4


@pytest.mark.parametrize("damage", ["empty", "short", "flipped", "no header", "another header"])
def test_a_corrupt_file_is_compiled_again(folder, cache, damage):
    whole = compiled("scaled.cu", {}, 80, folder)
    (kept,) = _kept(cache)
    data = kept.read_bytes()
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    texts = {"empty": b"", "short": data[:-9], "flipped": bytes(flipped), "no header": data[70:], "another header": b"[1]\n"}
    kept.write_bytes(texts[damage])
    assert compiled("scaled.cu", {}, 80, folder) == whole
    assert kept.read_bytes() == data


def test_what_a_killed_process_has_left_of_a_file_goes_when_it_is_compiled(folder, cache):
    whole = compiled("scaled.cu", {}, 80, folder)
    (kept,) = _kept(cache)
    kept.unlink()
    left = [cache / f"{kept.stem}{end}.part" for end in ("abcd1234", "_x")]
    others = [cache / "another1234.part", cache / f"{kept.stem}.notes"]
    for path in (*left, *others):
        path.write_text("half")
    assert compiled("scaled.cu", {}, 80, folder) == whole
    assert kept.exists() and all(path.exists() for path in others) and not any(path.exists() for path in left)


def test_a_cache_that_cannot_be_written_is_done_without(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert compiled("scaled.cu", {}, 80, folder).cubin


def _worker(folder, results):
    code = compiled("slow.cu", {}, 80, folder)
    inode = [file.stat().st_ino for file in _kept(cuda_compile.kernel_folder())]
    results.put((hashlib.sha256(code.cubin).hexdigest(), inode))


def test_twenty_processes_at_a_time_of_which_one_is_killed_while_it_compiles(folder, cache):
    (folder / "slow.cu").write_text(SLOW)
    fork = get_context("fork")
    results = fork.Queue()
    killed = fork.Process(target=_worker, args=(folder, results))
    killed.start()
    while not list(cache.glob("*.lock")):
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGSTOP)  # stop in the middle, however long the others take to start
    assert not _kept(cache), "it was not stopped in the middle"
    others = [fork.Process(target=_worker, args=(folder, results)) for _ in range(19)]
    for process in others:
        process.start()
    os.kill(killed.pid, signal.SIGKILL)
    found = [results.get(timeout=100) for _ in others]
    for process in (killed, *others):
        process.join()
    assert killed.exitcode == -signal.SIGKILL
    assert all(process.exitcode == 0 for process in others)
    # The same file and code for all: one process compiled, the others read its file.
    assert len({code for code, _ in found}) == 1
    assert len({tuple(inode) for _, inode in found}) == 1
    assert len(found[0][1]) == 1
    assert not list(cache.glob("*.part"))


def test_the_compilers_words_name_file_line_and_reason(folder, cache):
    (folder / "wrong.cu").write_text('#include "intrinsics.cuh"\n__global__ void k() { nothing(); }\n')
    with pytest.raises(CudaCompileError, match=r'wrong.cu\(2\): error: identifier "nothing" is undefined'):
        compiled("wrong.cu", {}, 80, folder)
    assert not _kept(cache)
    with pytest.raises(FileNotFoundError):
        compiled("absent.cu", {}, 80, folder)


def test_defines_of_every_type(folder, cache):
    (folder / "defined.cu").write_text(
        "static_assert(A == 1 && B == 7 && sizeof(C) == 4 && C == 0.25f && D(3) == 3);\n__global__ void k() {}"
    )
    assert compiled("defined.cu", {"A": True, "B": 7, "C": 0.25, "D": "int"}, 80, folder).log == ""


def test_arguments_have_the_widths_of_the_parameters(folder, cache):
    ptx = compiled("scaled.cu", {}, 80, folder).ptx
    types = cuda_launch.parameter_types(ptx, "scaled_kernel")
    x = torch.zeros(3)
    packed = cuda_launch.packed([x, x, 2**40, 0.5], types)
    assert [value.nbytes for value in packed] == [8, 8, 8, 4]
    assert packed[0] == x.data_ptr()
    assert packed[2:] == (2**40, np.float32(0.5))
    with pytest.raises(TypeError, match="takes 4 arguments, got 1"):
        cuda_launch.packed([x], types)
    with pytest.raises(OverflowError):
        cuda_launch.packed([2**31], ["s32"])


def test_the_tools_answer_for_both_kinds_of_kernel(folder, cache):
    what = Launch(SCALED, (1,), {}, {"FACTOR": 3.0}, shared=512)
    assert aot.kernel_name(what) == "scaled_kernel"
    assert aot.machine_code_of(what) != aot.machine_code_of(Launch(SCALED, (1,), {}, {"FACTOR": 2.0}, shared=512))


def test_nothing_is_included_that_nvrtc_lacks():
    for file in (*cuda_compile.sources().rglob("*.cu"), *cuda_compile.sources().rglob("*.cuh")):
        for line in re.findall(r"#\s*include.*", file.read_text()):
            name = re.fullmatch(r'#include "([\w/]+\.cuh|core/tables\.h)"', line.strip())
            assert name is not None, f"{file.name}: {line}"
            assert name[1] in cuda_compile.texts_of(file.relative_to(cuda_compile.sources()).as_posix())


def test_importing_the_package_loads_no_nvrtc_and_no_cupy():
    program = """
import sys, dcnn_fast.ops.cuda_launch
assert "cupy" not in sys.modules
with open("/proc/self/maps") as file:
    assert "nvrtc" not in file.read()
"""
    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize("newer", [True, False])
def test_a_stream_is_given_to_cupy_in_the_way_that_its_version_has(newer):
    """CuPy 14.2's protocol and the older versions' class, imitated, since CuPy cannot be installed everywhere."""

    class Stream:
        pass

    cuda = SimpleNamespace(Stream=Stream, ExternalStream=lambda address: ("external", address))
    if newer:
        Stream.from_external = staticmethod(lambda stream: ("protocol", *stream.__cuda_stream__()))
    assert cuda_launch.cupys_stream(cuda, 2**40) == (("protocol", 0, 2**40) if newer else ("external", 2**40))


def test_nvrtcs_builtins_are_loaded_beside_it():
    program = """
from dcnn_fast.ops import cuda_compile
cuda_compile._library()
with open("/proc/self/maps") as file:
    assert "libnvrtc-builtins" in file.read()
"""
    subprocess.run([sys.executable, "-c", program], check=True)
