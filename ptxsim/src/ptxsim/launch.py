"""The simulator's entry point."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from . import instructions  # noqa: F401  (registers the decoders)
from .building import program
from .counters import Counters, Report
from .errors import Finding
from .garbage import no_collection
from .interpreter import Interpreter
from .memory import GlobalMemory
from .parser import Variable
from .program import Program
from .tensorcores import measured

_LANES = 16384
_BLOCKS = 64
_FLOAT_FORMATS = {"f16": "<e", "f32": "<f", "f64": "<d", "b16": "<e", "b32": "<f", "u32": "<f", "b64": "<d", "u64": "<d"}


def span(buffer: Any) -> tuple[int, int]:
    """Address and bytes from the first to the last element of a tensor or array."""
    if hasattr(buffer, "data_ptr"):
        if buffer.numel() == 0:
            return buffer.data_ptr(), 0
        reach = sum((n - 1) * stride for n, stride in zip(buffer.shape, buffer.stride(), strict=True))
        return buffer.data_ptr(), (reach + 1) * buffer.element_size()
    if isinstance(buffer, np.ndarray):
        if buffer.size == 0:
            return buffer.ctypes.data, 0
        low, high = np.lib.array_utils.byte_bounds(buffer)
        return low, high - low
    raise TypeError(f"a buffer is a torch tensor or a numpy array, not {type(buffer).__name__}")


def _is_buffer(x: Any) -> bool:
    return hasattr(x, "data_ptr") or (isinstance(x, np.ndarray) and x.ndim > 0)


def _parameter(variable: Variable, value: Any, position: int) -> bytes:
    """The bytes of one argument."""
    size, kind = variable.bytes, variable.type
    if variable.array:
        data = value.tobytes() if isinstance(value, (np.ndarray, np.generic)) else bytes(value)
        if len(data) != size:
            raise ValueError(f"argument {position} must have the {size} bytes of {variable.name}, not {len(data)}")
        return data
    if _is_buffer(value):
        if size != 8:
            raise TypeError(f"argument {position} is a buffer, but {variable.name} is .{kind}")
        return span(value)[0].to_bytes(8, "little")
    if value is None:
        return bytes(size)
    if isinstance(value, np.generic):
        value = value.item()
    if kind[0] == "f" or isinstance(value, float):
        if kind not in _FLOAT_FORMATS:
            raise TypeError(f"argument {position} is a float, but {variable.name} is .{kind}")
        return struct.pack(_FLOAT_FORMATS[kind], value)
    value = int(value)
    if not -(1 << (8 * size - 1)) <= value < 1 << 8 * size:
        raise ValueError(f"argument {position}, {value}, does not fit {variable.name}, which is .{kind}")
    return (value % (1 << 8 * size)).to_bytes(size, "little")


def _set_parameters(p: Program, args: Sequence[Any]) -> None:
    missing = p.parameters[len(args) :]
    if len(args) > len(p.parameters) or len(missing) > 2 or any(v.type not in {"u64", "b64"} for v in missing):
        raise TypeError(f"{p.kernel.name} takes {len(p.parameters)} arguments, not {len(args)}")
    p.parameter_bytes[:] = 0
    for i, (variable, value) in enumerate(zip(p.parameters, args, strict=False)):
        data = _parameter(variable, value, i)
        start = p.parameter_offsets[variable.name]
        p.parameter_bytes[start : start + len(data)] = np.frombuffer(data, dtype=np.uint8)


def _dimensions(x: int | Sequence[int]) -> tuple[int, int, int]:
    sizes = (x,) if isinstance(x, int) else tuple(int(n) for n in x)
    sizes = sizes + (1,) * (3 - len(sizes))
    if len(sizes) != 3 or min(sizes) < 1:
        raise ValueError(f"a grid or block has one to three positive sizes, not {x}")
    return sizes


@no_collection()
def launch(
    ptx: str,
    kernel: str,
    grid: int | Sequence[int],
    block: int | Sequence[int],
    args: Sequence[Any],
    *,
    shared: int = 0,
    buffers: Iterable[Any] = (),
    uninitialised: Iterable[Any] = (),
    symbols: Mapping[str, Any] | None = None,
    check: str = "raise",
    rounding: str = "exact",
) -> Report:
    """Run one kernel of a PTX text on the CPU.

    Args:
        ptx: The PTX text.
        kernel: The kernel's name in it.
        grid: Thread blocks along x, or along up to three axes.
        block: Threads of a block along x, or along up to three axes; at most 1024 in all.
        args: The arguments in the order of the kernel's parameters: torch tensors and numpy arrays (passed by address; the
            kernel works on their memory in place), numbers, None (a null pointer), bytes for structures. Up to two pointers at
            the end may be omitted: Triton's scratch pointers.
        shared: Bytes of dynamic shared memory.
        buffers: Further accessible memory.
        uninitialised: Buffers that may not be read before the kernel has written them.
        symbols: Contents of `__constant__` and `__device__` variables by name; others start as the PTX says, or as zeros.
        check: "raise" raises at the first broken rule; "collect" goes on where it can and lists the first finding of each kind
            and PTX line in the report.
        rounding: "hardware" adds the products of `mma` and `wgmma` as measured on tensor cores of the PTX's target
            (`tensorcores.py`); "exact" sums exactly and rounds once for each instruction.

    Returns:
        The counts and, with check="collect", the findings.

    Raises:
        SimulationError: The kernel broke a rule, and `check` is "raise".
        UnsupportedInstruction: The kernel has code that the simulator does not know; raised before anything runs.
        ValueError: `check`, `rounding`, a size or an argument is none that can be; `rounding` is "hardware" and there are no
            published measurements for the PTX's target.
        TypeError: The arguments do not fit the kernel's parameters, or a buffer is neither a torch tensor nor a numpy array.
        KeyError: The PTX has no such kernel or variable.
    """
    if check not in {"raise", "collect"}:
        raise ValueError(f"check is 'raise' or 'collect', not {check!r}")
    if rounding not in {"exact", "hardware"}:
        raise ValueError(f"rounding is 'exact' or 'hardware', not {rounding!r}")
    p = program(ptx, kernel)
    tensor_core = measured(p.target) if rounding == "hardware" else None
    grid_shape, block_shape = _dimensions(grid), _dimensions(block)
    threads = block_shape[0] * block_shape[1] * block_shape[2]
    if threads > 1024:
        raise ValueError(f"a block has at most 1024 threads, not {threads}")
    _set_parameters(p, args)
    memory = _memory(p, args, list(buffers), list(uninitialised), symbols or {})
    counters = Counters(p)
    findings: dict[tuple[str, int], Finding] = {}
    blocks = grid_shape[0] * grid_shape[1] * grid_shape[2]
    batch = max(1, min(_BLOCKS, _LANES // threads))
    unique = {"load": 0, "store": 0}
    for first in range(0, blocks, batch):
        n = min(batch, blocks - first)
        interpreter = Interpreter(p, grid_shape, block_shape, first, n, p.shared_bytes + shared, memory, counters, findings,
                          check == "collect", tensor_core)  # fmt: skip
        interpreter.run()
        interpreter.forget()
        for kind in unique:
            unique[kind] += sum(a.unique(kind, n) for a in memory.allocations)
    report = counters.report()
    report.blocks, report.threads = blocks, threads
    report.unique_load_sectors, report.unique_store_sectors = unique["load"], unique["store"]
    report.findings = list(findings.values())
    return report


def _memory(
    p: Program, args: Sequence[Any], buffers: list[Any], uninitialised: list[Any], symbols: Mapping[str, Any]
) -> GlobalMemory:
    memory = GlobalMemory()
    for i, value in enumerate(args):
        if _is_buffer(value):
            name = p.parameters[i].name
            memory.add(*span(value), f"argument {i} ({name})")
    for i, value in enumerate(buffers):
        memory.add(*span(value), f"buffer {i}")
    for i, value in enumerate(uninitialised):
        memory.add(*span(value), f"uninitialised buffer {i}", undefined=True)
    memory.add(p.parameter_bytes.ctypes.data, len(p.parameter_bytes), "parameters", counted=False)
    unknown = set(symbols) - set(p.module_variables)
    if unknown:
        raise KeyError(f"no variables {sorted(unknown)} in this PTX; it has {sorted(p.module_variables)}")
    for name, (variable, data) in p.module_variables.items():
        data[:] = 0
        if variable.initial is not None:
            data[:] = np.frombuffer(variable.initial, dtype=np.uint8)
        if name in symbols:
            raw = np.frombuffer(np.ascontiguousarray(symbols[name]).tobytes(), dtype=np.uint8)
            data[: len(raw)] = raw
        memory.add(data.ctypes.data, len(data), name, counted=variable.space != "const")
    memory.seal()
    return memory
