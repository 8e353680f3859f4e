"""The table of GPU facts: consistent with itself, and with the machine's GPU where there is one."""

from __future__ import annotations

import pytest
import torch

from dcnn_fast.ops.gpus import (
    A100,
    B200,
    CAPABILITIES,
    GPUS,
    H100,
    LEAST_CAPABILITY,
    LEAST_SHARED,
    MULTIPROCESSORS,
    RTX_4090,
    named,
)  # fmt: skip


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
    sheets = {A100: (19.5, 312.0), RTX_4090: (82.6, 165.2), H100: (66.9, 989.4)}  # dense TFLOP/s in fp32 and in bf16
    for gpu, (fp32, bf16) in sheets.items():
        cycles = 2 * gpu.multiprocessors * gpu.ghz / 1e3  # TFLOP/s of one multiply-add per cycle and multiprocessor
        assert fp32 == pytest.approx(gpu.exact * cycles, rel=0.15)
        assert bf16 == pytest.approx(gpu.tensor * cycles, rel=0.15)


def test_what_every_gpu_since_sm_80_has_reaches_less_than_what_later_ones_have_beside_it():
    assert {gpu.name for gpu in GPUS if gpu.mma_sync is not None} == {"H100", "B200"}
    assert all(gpu.mma_sync < gpu.tensor for gpu in (H100, B200))


def test_a_gpu_that_is_there_has_what_is_stated():
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    has = torch.cuda.get_device_properties(0)
    if (of := MULTIPROCESSORS.get(10 * has.major + has.minor)) is not None:
        assert has.shared_memory_per_multiprocessor == of.shared
        assert has.max_threads_per_multi_processor == of.threads
        assert has.shared_memory_per_block_optin == of.shared_of_block
