"""Kernels with `wgmma` in handwritten PTX: operands laid out by the figures of the PTX ISA, element by element."""

from __future__ import annotations

import numpy as np

from tests.ptxsim.kernels import kernel

THREADS = 128
BYTES = {"f16": 2, "bf16": 2, "tf32": 4}
MODES = {16: 0, 128: 1, 64: 2, 32: 3}


def assembled_for(text: str) -> str:
    """The same PTX for sm_90a, as the instructions of warpgroups require."""
    return text.replace(".target sm_80", ".target sm_90a")


def encoded(x: np.ndarray, kind: str) -> np.ndarray:
    """Numbers that the type holds exactly, as its bits."""
    if kind == "f16":
        return x.astype(np.float16).view(np.uint16)
    single = x.astype(np.float32).view(np.uint32)
    return single if kind == "tf32" else (single >> 16).astype(np.uint16)


class Placed:
    """A matrix in shared memory from byte `start` on, and its descriptor.

    matrix: bits, of rows along M or N and columns along K. swizzle: bytes in a row of the pattern, 16 for none. across:
    elements along M or N lie side by side, not those along K.
    """

    def __init__(self, image: np.ndarray, start: int, matrix: np.ndarray, swizzle: int, *, across: bool) -> None:
        size = matrix.itemsize
        per = 16 // size
        lines = matrix.T if across else matrix  # the number of adjacent elements
        chunks = swizzle // 16
        high, wide = lines.shape[0] // 8, -(-lines.shape[1] // per // chunks)
        # Tiles of eight lines and one row of the pattern; stacked in each direction, with a gap.
        tile, gap = 8 * swizzle, 1024 if swizzle > 16 else 128
        self.down, self.aside = (tile + gap) * wide, tile + gap
        self.end = start + high * self.down
        for r in range(lines.shape[0]):
            for chunk in range(lines.shape[1] // per):
                column = chunk % chunks
                # The figures: a chunk's place in its row is swizzled with the number of the row, counted in 128 bytes.
                place = column ^ r % 8 * swizzle // 128
                at = start + r // 8 * self.down + chunk // chunks * self.aside + r % 8 * swizzle + place * 16
                image[at : at + 16] = np.ascontiguousarray(lines[r, chunk * per : chunk * per + per]).view(np.uint8)
        if not across:
            leading, stride = self.aside, self.down
        elif swizzle == 16:
            leading, stride = self.down, self.aside
        else:
            leading, stride = self.aside, self.down
        self.descriptor = start >> 4 | leading >> 4 << 16 | stride >> 4 << 32 | MODES[swizzle] << 62


def fragment_of_a(matrix: np.ndarray, thread: int) -> list[int]:
    """The four registers of a thread: its elements of the 64 rows, by the ISA's formulas."""
    warp, lane = divmod(thread, 32)
    found = []
    for j in (0, 1):
        for i in (0, 1):
            row = 16 * warp + lane // 4 + 8 * i
            if matrix.itemsize == 4:
                found.append(int(matrix[row, lane % 4 + 4 * j]))
            else:
                low, high = (int(matrix[row, 8 * j + lane % 4 * 2 + e]) for e in (0, 1))
                found.append(low | high << 16)
    return found


def accumulators(n: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, columns) of D by thread and element, (128, n / 2)."""
    thread, d = np.arange(THREADS)[:, None], np.arange(n // 2)[None]
    return 16 * (thread // 32) + thread % 32 // 4 + d % 4 // 2 * 8, d // 4 * 8 + thread % 4 * 2 + d % 2


FILL = """mul.wide.u32 %rd20, %r1, 16;
add.s64 %rd21, %rd0, %rd20;
mov.u32 %r6, s;
shl.b32 %r7, %r1, 4;
add.s32 %r7, %r6, %r7;
mov.u32 %r8, 0;
$FILL:
ld.global.v4.b32 {%r20, %r21, %r22, %r23}, [%rd21];
st.shared.v4.b32 [%r7], {%r20, %r21, %r22, %r23};
add.s64 %rd21, %rd21, 2048;
add.s32 %r7, %r7, 2048;
add.s32 %r8, %r8, 1;
setp.lt.u32 %p1, %r8, TIMES;
@%p1 bra $FILL;
"""
FENCED = "fence.proxy.async;\nbar.sync 0;\n"


def program(body: str, size: int, count: int = 0) -> str:
    """A kernel of 128 threads that first fills shared memory, `size` bytes, with its first argument. count: accumulators
    %f0 …, which are read from the second argument before `body` and are written to the third after it."""
    text = FILL.replace("TIMES", str(size // 2048))
    if count:
        text += f"mad.wide.u32 %rd22, %r0, {4 * count}, %rd1;\nmad.wide.u32 %rd23, %r0, {4 * count}, %rd2;\n"
        text += "".join(f"ld.global.b32 %f{i}, [%rd22+{4 * i}];\n" for i in range(count))
    text += body + "\n" + "".join(f"st.global.b32 [%rd23+{4 * i}], %f{i};\n" for i in range(count))
    declared = f".shared .align 1024 .b8 s[{size}];\n.reg .b32 %f<160>;"
    return assembled_for(kernel(text, 4, declarations=declared))


def vector(count: int, first: int = 0) -> str:
    return "{" + ", ".join(f"%f{i}" for i in range(first, first + count)) + "}"
