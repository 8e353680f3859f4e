"""What GPUs have, stated once: the facts agree with each other, and with a GPU where there is one."""

from __future__ import annotations

import pytest
import torch

from dcnn_fast.ops.gpus import CAPABILITIES, GPUS, LEAST_CAPABILITY, LEAST_SHARED, MULTIPROCESSORS, named


def test_there_is_a_gpu_for_every_capability_that_kernels_are_judged_for():
    assert [gpu.capability for gpu in GPUS] == [capability for capability in CAPABILITIES if capability >= LEAST_CAPABILITY]
    assert [named(capability) for capability in CAPABILITIES] == ["7.5", "8.0", "8.6", "8.9", "9.0", "10.0", "12.0"]


def test_a_thread_block_may_have_what_the_programming_guide_says():
    kilobytes = {capability: of.shared_of_block / 1024 for capability, of in MULTIPROCESSORS.items()}
    assert kilobytes == {75: 64, 80: 163, 86: 99, 89: 99, 90: 227, 100: 227, 120: 99}
    assert LEAST_SHARED == 99 * 1024
    assert {capability: of.warps for capability, of in MULTIPROCESSORS.items()} == {
        75: 32, 80: 64, 86: 48, 89: 48, 90: 64, 100: 64, 120: 48,
    }  # fmt: skip


def test_the_peaks_of_a_data_sheet_are_those_of_the_multiprocessors_at_about_their_clock():
    quoted = [gpu for gpu in GPUS if gpu.sheet is not None]
    assert len(quoted) >= 3
    for gpu in quoted:
        cycles = 2 * gpu.multiprocessors * gpu.ghz / 1e3  # TFLOP/s of one multiply-add a cycle
        assert gpu.sheet.peak("fp32") == pytest.approx(gpu.exact * cycles, rel=0.15)
        assert gpu.sheet.peak("bf16") == pytest.approx(gpu.tensor * cycles, rel=0.15)


def test_a_gpu_that_is_there_has_what_is_stated():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    has = torch.cuda.get_device_properties(0)
    if (of := MULTIPROCESSORS.get(10 * has.major + has.minor)) is not None:
        assert has.shared_memory_per_multiprocessor == of.shared
        assert has.max_threads_per_multi_processor == of.threads
        assert has.shared_memory_per_block_optin == of.shared_of_block
