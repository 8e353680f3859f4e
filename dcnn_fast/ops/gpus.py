"""GPUs as data: a multiprocessor's resources by compute capability, a product's speed by its name.

Sources: the CUDA C++ Programming Guide's tables of compute capabilities and of instruction throughput, and public data sheets;
the L2's bandwidths and the share of Hopper's peak that `mma.sync` reaches are rounded figures from published micro-benchmarks.
No figure was measured by this project.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

WARP = 32  # threads
FREE_SHARED = 48 * 1024  # bytes of dynamic shared memory that a thread block may use without opting in
MOST_REGISTERS = 255  # per thread
SECTOR = 32  # bytes of the smallest transfer from device memory


@dataclass(frozen=True)
class Multiprocessor:
    """A multiprocessor's resources, and the most thread blocks and threads that may be resident on it.

    shared: bytes of shared memory. threads, blocks: the most that may be resident. reserved: bytes of shared memory that the
    system takes for each thread block. registers: of 32 bits.
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
        """The most warps that may be resident."""
        return self.threads // WARP


# Keyed by compute capability, ten times the major number plus the minor one.
MULTIPROCESSORS: Mapping[int, Multiprocessor] = {
    75: Multiprocessor(65536, 1024, 16, reserved=0),
    80: Multiprocessor(167936, 2048, 32),
    86: Multiprocessor(102400, 1536, 16),
    89: Multiprocessor(102400, 1536, 24),
    90: Multiprocessor(233472, 2048, 32),
    100: Multiprocessor(233472, 2048, 32),
    120: Multiprocessor(102400, 1536, 24),
}
CAPABILITIES = tuple(MULTIPROCESSORS)  # capabilities that kernels are compiled for
LEAST_CAPABILITY = 80  # for kernels in CUDA C++; below it, Triton emits no tensor-core instructions
HOPPER = 90  # has warp-group matrix products (wgmma)
LEAST_SHARED = min(each.shared_of_block for capability, each in MULTIPROCESSORS.items() if capability >= LEAST_CAPABILITY)


@dataclass(frozen=True)
class Gpu:
    """tensor, exact: a multiprocessor's multiply-adds per cycle, of 16-bit operands with fp32 sums and of fp32. l2, dram: GB/s.

    mma_sync: multiply-adds per cycle of `mma.sync`, which all GPUs since sm_80 have, where `tensor` counts another instruction
    (sm_90's `wgmma`, sm_100's `tcgen05`); None where `mma.sync` is the only one.
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
        """One multiprocessor's warp instructions per cycle, by pipe."""
        return {"issue": 4, "fma": self.exact / WARP, "alu": 2, "mufu": 0.5, "lsu": 1}


A100 = Gpu("A100", 80, 108, 1.41, 1024, 64, 4800, 1555)  # the 40 GB model
RTX_3090 = Gpu("RTX 3090", 86, 82, 1.70, 256, 128, 2100, 936)
RTX_4090 = Gpu("RTX 4090", 89, 128, 2.52, 256, 128, 5000, 1008)
H100 = Gpu("H100", 90, 132, 1.75, 2048, 128, 5500, 3350, mma_sync=1270)  # 62 % of wgmma's
B200 = Gpu("B200", 100, 148, 1.85, 4096, 128, 10000, 8000, mma_sync=1024)  # mma_sync: assumed as on sm_80; no figure was found
RTX_5090 = Gpu("RTX 5090", 120, 170, 2.41, 256, 128, 6000, 1792)
GPUS = (A100, RTX_3090, RTX_4090, H100, B200, RTX_5090)  # one for each capability from LEAST_CAPABILITY on


def named(capability: int) -> str:
    """A compute capability in NVIDIA's notation: "8.0"."""
    return f"{capability // 10}.{capability % 10}"
