"""CUDA C++ to machine code by NVRTC, which needs no driver, no GPU and no toolkit; results are kept on disk.

NVRTC is called through ctypes: a few functions of a plain C library suffice, while CuPy's binding would require CuPy, and
`cuda.bindings` another wheel whose version has to match NVRTC's. The library comes from the wheel nvidia-cuda-nvrtc (CUDA 13)
or nvidia-cuda-nvrtc-cu12.

Sources include files from the sources' folder (`#include "intrinsics.cuh"`) or its parent (`#include "core/tables.h"`), and
nothing else. NVRTC gets their text and no search path, so it sees exactly the text that the cache's key is computed from.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from filelock import FileLock

from dcnn_fast.ops.cache_folder import cache_folder
from dcnn_fast.ops.gpus import HOPPER

FLAGS = ("--std=c++17", "-lineinfo", "--fmad=true")
_HOPPERS_OWN = f"sm_{HOPPER}a"  # sm_90 with its architecture-specific instructions, absent from later GPUs

_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*"([^"]+)"', re.MULTILINE)
_PACKAGE = Path(__file__).resolve().parents[1]


class CudaCompileError(RuntimeError):
    """NVRTC refused a source; the message is its log."""


@dataclass(frozen=True)
class CudaCode:
    """A compiled source. ptx: text. cubin: machine code. log: the compiler's messages, mostly none."""

    ptx: str
    cubin: bytes
    log: str


def missing() -> str | None:
    """None when NVRTC is installed, else one sentence that names the missing part."""
    return None if _library_file() is not None else "NVRTC is not installed (pip install nvidia-cuda-nvrtc)"


def sources() -> Path:
    """The folder of the CUDA C++ sources: csrc/cuda in an editable install, else the copy in the package."""
    clone = _PACKAGE.parent / "csrc" / "cuda"
    return clone if (clone / "intrinsics.cuh").is_file() else _PACKAGE / "cuda_sources"


def compiled(source: str, defines: Mapping[str, Any], capability: int, folder: Path | None = None) -> CudaCode:
    """The file `source` ("views/resample.cu") compiled for sm_`capability`, from the cache on disk or by NVRTC.

    defines: becomes `-Dname=value`; a bool is 1 or 0, a float single precision, a string C++ text. folder: of the sources,
    `sources()` if None. Raises CudaCompileError with the compiler's log, FileNotFoundError for a missing file, and
    RuntimeError without NVRTC.

    Any number of processes may call it at a time: the first compiles, the others wait for it. An incomplete cache file is
    compiled again. The cache is `dcnn_fast/cuda` in XDG_CACHE_HOME or ~/.cache; without a writable one, nothing
    is kept.
    """
    texts = texts_of(source, folder)
    options = _options(defines, capability)
    where = kernel_folder()
    if where is None:
        return _compile(source, texts, options)
    kept = where / f"{_key(texts, options)}.kernel"
    if (code := _read(kept)) is not None:
        return code
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(kept.with_suffix(".lock"))
        lock.acquire()
    except OSError:
        return _compile(source, texts, options)
    try:
        if (code := _read(kept)) is None:
            code = _compile(source, texts, options)
            _write(kept, code)
    finally:
        lock.release()
    return code


def content_hash(source: str, defines: Mapping[str, Any], capability: int, folder: Path | None = None) -> str:
    """A hash of everything that determines the machine code: sources, defines, flags, target and NVRTC's version."""
    return _key(texts_of(source, folder), _options(defines, capability))


def kernel_folder() -> Path | None:
    """The folder of compiled kernels, `cuda` in the cache folder; None without a cache folder."""
    root = cache_folder()
    return None if root is None else root / "cuda"


def texts_of(source: str, folder: Path | None = None) -> dict[str, str]:
    """The texts of `source` and of every file that it includes, directly or not, keyed by the included name."""
    texts: dict[str, str] = {}
    left = [source]
    while left:
        name = left.pop()
        if name not in texts:
            texts[name] = _file(name, folder or sources()).read_text(encoding="utf-8")
            left += _INCLUDE.findall(texts[name])
    return texts


def _file(name: str, folder: Path) -> Path:
    """The file of that name: in the folder (as in a package) or in its parent (as in a clone)."""
    within = folder / name
    beside = folder.parent / name
    return beside if beside.is_file() and not within.is_file() else within


def _options(defines: Mapping[str, Any], capability: int) -> tuple[str, ...]:
    return (*FLAGS, f"--gpu-architecture={architecture(capability)}", *definitions(defines))


def architecture(capability: int) -> str:
    """The compiler's target name for a compute capability: for sm_90 the architecture-specific sm_90a, where the compiler
    supports it.
    """
    return _HOPPERS_OWN if capability == HOPPER and knows_warp_groups() else f"sm_{capability}"


def knows_warp_groups() -> bool:
    """Whether the compiler supports sm_90's architecture-specific instructions; if not, one warning says so. True without
    NVRTC.
    """
    return missing() is not None or _knows_hoppers_own()


@cache
def _knows_hoppers_own() -> bool:
    try:
        _compile("nothing.cu", {"nothing.cu": ""}, (f"--gpu-architecture={_HOPPERS_OWN}",))
    except CudaCompileError as error:
        if "NVRTC_ERROR_INVALID_OPTION" not in str(error):
            return True  # another fault, which a kernel's own compilation will report
        logging.getLogger(__name__).warning(
            "NVRTC %d.%d does not know %s: the CUDA C++ block multiplies by warps (mma.sync), which the cost model has slower "
            "than warp groups (wgmma); a newer nvidia-cuda-nvrtc has them", *nvrtc_version(), _HOPPERS_OWN
        )  # fmt: skip
        return False
    return True


def definitions(defines: Mapping[str, Any]) -> tuple[str, ...]:
    """The compiler's options for `defines`, in the order of their names."""
    return tuple(f"-D{name}={_literal(defines[name])}" for name in sorted(defines))


def _literal(value: Any) -> str:
    if isinstance(value, (bool, int)):
        return str(int(value))
    return f"{value!r}f" if isinstance(value, float) else str(value)


def _key(texts: Mapping[str, str], options: tuple[str, ...]) -> str:
    parts = sorted(texts.items()), options, nvrtc_version()
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _read(file: Path) -> CudaCode | None:
    """The code that `_write` stored; None where the file is missing or incomplete."""
    try:
        head, _, body = file.read_bytes().partition(b"\n")
        digest, sizes = json.loads(head)
        ptx, cubin = sizes
    except (OSError, ValueError, TypeError):
        return None
    if hashlib.sha256(body).hexdigest() != digest:
        return None
    return CudaCode(body[:ptx].decode(), body[ptx : ptx + cubin], body[ptx + cubin :].decode())


def _write(file: Path, code: CudaCode) -> None:
    """Write atomically: another process sees the whole file or none, even if this process is killed."""
    parts = code.ptx.encode(), code.cubin, code.log.encode()
    body = b"".join(parts)
    head = json.dumps([hashlib.sha256(body).hexdigest(), [len(parts[0]), len(parts[1])]]).encode()
    with suppress(OSError):
        for left in file.parent.glob(f"{file.stem}*.part"):  # left by a killed process: this one holds the file's lock
            left.unlink(missing_ok=True)
    name = None
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=file.stem, suffix=".part")
        with os.fdopen(handle, "wb") as part:
            part.write(head + b"\n" + body)
        os.replace(name, file)
    except OSError:  # a full disk, a read-only folder: nothing is cached
        if name is not None:
            with suppress(OSError):
                Path(name).unlink(missing_ok=True)


_found: Path | None = None  # the library found last


def _library_file() -> Path | None:
    """The newest libnvrtc among the wheels that share the package `nvidia`; searched until found, and again once it is gone."""
    global _found  # noqa: PLW0603 - called before every launch, where a search takes longer than the rest
    if _found is None or not os.path.exists(_found):
        _found = _searched()
    return _found


def _searched() -> Path | None:
    try:
        import nvidia  # noqa: PLC0415 - a namespace that NVIDIA's wheels share
    except ImportError:
        return None
    found = [file for folder in nvidia.__path__ for file in Path(folder).glob("*/lib/libnvrtc.so.*")]
    return max(found, key=lambda file: int(file.suffix[1:]), default=None)


@cache
def _library() -> ctypes.CDLL:
    file = _library_file()
    if file is None:
        raise RuntimeError(missing())
    # NVRTC 13.0's wheel does not look for its builtins next to itself; without them no source compiles.
    for builtins in file.parent.glob(f"libnvrtc-builtins.so{file.suffix}*"):
        ctypes.CDLL(str(builtins), mode=ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(file))
    library.nvrtcGetErrorString.restype = ctypes.c_char_p
    return library


@cache
def nvrtc_version() -> tuple[int, int]:
    """NVRTC's (major, minor) version. Raises RuntimeError without NVRTC."""
    major, minor = ctypes.c_int(), ctypes.c_int()
    _require(_library().nvrtcVersion(ctypes.byref(major), ctypes.byref(minor)))
    return major.value, minor.value


def _require(result: int) -> None:
    if result != 0:
        raise RuntimeError(f"NVRTC: {_library().nvrtcGetErrorString(result).decode()}")


def _compile(source: str, texts: Mapping[str, str], options: tuple[str, ...]) -> CudaCode:
    library = _library()
    headers = [name for name in texts if name != source]
    program = ctypes.c_void_p()
    _require(
        library.nvrtcCreateProgram(
            ctypes.byref(program), texts[source].encode(), source.encode(), len(headers),
            _strings([texts[name] for name in headers]), _strings(headers),
        )
    )  # fmt: skip
    try:
        result = library.nvrtcCompileProgram(program, len(options), _strings(options))
        log = _got(program, "ProgramLog").rstrip(b"\0").decode(errors="replace").strip()
        if result != 0:
            reason = library.nvrtcGetErrorString(result).decode()
            raise CudaCompileError(f"{source} with {' '.join(options)}: {reason}\n{log}")
        return CudaCode(_got(program, "PTX").rstrip(b"\0").decode(), _got(program, "CUBIN"), log)
    finally:
        library.nvrtcDestroyProgram(ctypes.byref(program))


def _strings(texts: list[str] | tuple[str, ...]) -> Any:
    return (ctypes.c_char_p * len(texts))(*(text.encode() for text in texts))


def _got(program: ctypes.c_void_p, what: str) -> bytes:
    """The bytes from NVRTC's pair of functions nvrtcGet<what>Size and nvrtcGet<what>."""
    size = ctypes.c_size_t()
    _require(getattr(_library(), f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
    buffer = ctypes.create_string_buffer(size.value)
    _require(getattr(_library(), f"nvrtcGet{what}")(program, buffer))
    return buffer.raw
