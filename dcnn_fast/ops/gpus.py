"""GPUs, stated once: a multiprocessor's resources by compute capability, a product's speed by its name.

Sources: the CUDA C++ Programming Guide's tables of compute capabilities and of instruction throughput, and public data sheets;
the L2's bandwidths and what `mma.sync` reaches of Hopper's peak are rounded figures of published micro-benchmarks. Nothing here
was measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WARP = 32  # threads
FREE_SHARED = 48 * 1024  # bytes of dynamic shared memory that a thread block has without asking
MOST_REGISTERS = 255  # of a thread
SECTOR = 32  # bytes that device memory moves at least


@dataclass(frozen=True)
class Multiprocessor:
    """A multiprocessor's resources, and the blocks and threads that may be resident on it.

    shared: bytes of shared memory. threads, blocks: that may be resident. reserved: bytes of shared memory that each thread
    block takes beside its own. registers: of 32 bits.
    """

    shared: int
    threads: int
    blocks: int
    reserved: int = 1024
    registers: int = 65536

    @property
    def shared_of_block(self) -> int:
        """Bytes of shared memory that one thread block may have."""
        return self.shared - self.reserved

    @property
    def warps(self) -> int:
        """That may be resident."""
        return self.threads // WARP


# By compute capability, ten times the major number plus the minor one.
MULTIPROCESSORS: Mapping[int, Multiprocessor] = {
    75: Multiprocessor(65536, 1024, 16, reserved=0),
    80: Multiprocessor(167936, 2048, 32),
    86: Multiprocessor(102400, 1536, 16),
    89: Multiprocessor(102400, 1536, 24),
    90: Multiprocessor(233472, 2048, 32),
    100: Multiprocessor(233472, 2048, 32),
    120: Multiprocessor(102400, 1536, 24),
}
CAPABILITIES = tuple(MULTIPROCESSORS)  # that kernels are compiled for
LEAST_CAPABILITY = 80  # of the kernels in CUDA C++; for less, Triton emits no tensor-core instructions
HOPPER = 90  # which has products of warp groups
LEAST_SHARED = min(each.shared_of_block for capability, each in MULTIPROCESSORS.items() if capability >= LEAST_CAPABILITY)


@dataclass(frozen=True)
class Gpu:
    """tensor, exact: multiply-adds a cycle of one multiprocessor, of 16 bits with fp32 sums and of fp32. l2, dram: GB/s.

    mma_sync: those of the instruction that all GPUs since sm_80 have, where `tensor` takes another, of a warp group (sm_90's
    `wgmma`) or of the multiprocessor (sm_100's `tcgen05`); None where it is the only one.
    """

    name: str
    capability: int
    multiprocessors: int
    ghz: float
    tensor: int
    exact: int
    l2: float
    dram: float
    mma_sync: int | None = None

    @property
    def rates(self) -> dict[str, float]:
        """Warp instructions a cycle of one multiprocessor, by pipe."""
        return {"issue": 4, "fma": self.exact / WARP, "alu": 2, "mufu": 0.5, "lsu": 1}


A100 = Gpu("A100", 80, 108, 1.41, 1024, 64, 4800, 1555)  # itself of 40 GB
RTX_3090 = Gpu("RTX 3090", 86, 82, 1.70, 256, 128, 2100, 936)
RTX_4090 = Gpu("RTX 4090", 89, 128, 2.52, 256, 128, 5000, 1008)
H100 = Gpu("H100", 90, 132, 1.75, 2048, 128, 5500, 3350, mma_sync=1270)  # 62 %
B200 = Gpu("B200", 100, 148, 1.85, 4096, 128, 10000, 8000, mma_sync=1024)  # assumed: as sm_80's; no figure was found
RTX_5090 = Gpu("RTX 5090", 120, 170, 2.41, 256, 128, 6000, 1792)
GPUS = (A100, RTX_3090, RTX_4090, H100, B200, RTX_5090)  # one for each capability from LEAST_CAPABILITY on


def named(capability: int) -> str:
    """A compute capability as NVIDIA writes it: "8.0"."""
    return f"{capability // 10}.{capability % 10}"
