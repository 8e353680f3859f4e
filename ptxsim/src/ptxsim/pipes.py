"""The pipe of a multiprocessor that executes an instruction."""

from __future__ import annotations

_PIPES = {
    "lsu": {"ld", "st", "ldmatrix", "stmatrix", "atom", "red", "shfl", "ldu", "prefetch", "cp"},
    "tensor": {"mma", "wgmma"},
    "control": {"bra", "ret", "exit", "bar", "barrier", "brx", "membar", "fence", "trap"},
    "mufu": {"ex2", "lg2", "rcp", "rsqrt", "sqrt", "sin", "cos", "tanh", "div", "rem"},
    "convert": {"cvt"},
    "move": {"mov", "cvta"},
}
_PIPE_OF = {op: pipe for pipe, ops in _PIPES.items() for op in ops}


def pipe_of(parts: tuple[str, ...]) -> str:
    """The pipe of an instruction: an approximation, as the hardware does not execute PTX itself."""
    op, kind = parts[0], parts[-1]
    if op == "cp" and parts[-1] in {"commit_group", "wait_group", "wait_all"}:
        return "control"
    if op == "mbarrier" or parts[:2] in {("wgmma", "fence"), ("wgmma", "commit_group"), ("wgmma", "wait_group")}:
        return "control"
    if op in _PIPE_OF:
        return _PIPE_OF[op]
    if op in {"add", "sub", "mul", "fma", "mad"} and "f" in kind:
        return {"f32": "fma", "f32x2": "fma", "f64": "fp64"}.get(kind, "half")
    if op in {"mul", "mad", "mad24", "mul24", "madc", "dp4a", "sad"}:
        return "imad"
    return "alu"
