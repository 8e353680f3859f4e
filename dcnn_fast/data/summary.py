"""Computes a decoded photograph's digest and its reduced pixels, for scoring, in one walk over its pixels."""

from __future__ import annotations

import hashlib

import numpy as np

from dcnn_fast import engine
from dcnn_fast.data import upright
from dcnn_fast.data.reduction import reduced, reduced_size

_PLAIN = "portable"  # the engine's instruction set without extensions


def summary(decoded: upright.Decoded, long_side: int | None) -> tuple[str, np.ndarray]:
    """The digest and the photograph reduced to `long_side`, equal to those of `digest` and `reduction.reduced`.

    Where `in_one_walk`, a photograph to be reduced is hashed, turned and resampled together, without an upright copy.
    """
    if not in_one_walk():
        return digest(decoded), reduced(decoded.upright, long_side)
    stored, orientation = decoded.state
    rows, cols = stored.shape[:2] if orientation not in upright.ON_ITS_SIDE else stored.shape[1::-1]
    size = reduced_size(rows, cols, long_side)
    if size == (rows, cols):
        pixels = decoded.upright
        return digest(decoded), pixels
    found, made = engine.native.summarized(engine.isa(), stored, orientation, _head(rows, cols), size)
    return found.hex(), reduced(decoded.upright, long_side) if made is None else made


def digest(decoded: upright.Decoded) -> str:
    """SHA-256 over the shape and the upright pixels."""
    pixels = decoded.upright
    state = hashlib.sha256(_head(*pixels.shape[:2]))
    state.update(pixels.data)
    return state.hexdigest()


def in_one_walk() -> bool:
    """Whether `summary` hashes and reduces together, which needs AVX2 and the processor's SHA-256 instructions."""
    return engine.reason() is None and engine.isa() != _PLAIN and all(engine.features()[name] for name in ("avx2", "sha_ni"))


def _head(height: int, width: int) -> bytes:
    return b"dcnn_fast photo 1" + np.array([height, width], dtype="<u8").tobytes()
