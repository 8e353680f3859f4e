"""The metadata of exported files: the model, the preparation of a photograph, and the drawing of samples."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from importlib import metadata
from typing import Any

from dcnn_fast.export.inputs import ColumnInputs, high_of, inputs_of
from dcnn_fast.nets import Model

PROPERTY = "dcnn_fast"  # the name of an ONNX file's metadata property, which is JSON of this schema
SCHEMA = 1
SAMPLES, SEED, GRID = 50, 0, 1  # a score's defaults

READING = (
    "Decode the file; apply its EXIF orientation; convert an embedded ICC profile to sRGB; lay transparent pixels over white; "
    "take grey as red, green and blue alike; reduce 16 bits to 8 by (v + 128) // 257. Pixels are bytes, red, green, blue, rows "
    "from the top."
)
RESAMPLING = (
    "Separable, antialiased, bilinear: along each axis output i has its centre at (i + 0.5) * size / target in pixels of the "
    "input, whose centres lie at + 0.5. Its weights are a triangle of half-width max(1, size / target) there, without the "
    "pixels outside the image, divided by their sum and rounded to multiples of 2**-22. The horizontal pass is first, unless "
    "height > target height and height - target height > 2 * (width - target width); each pass is rounded to bytes. It is "
    "what Pillow's Image.resize does with Resampling.BILINEAR (before version 13 it always takes the horizontal pass first)."
)
VIEWS = {
    "warp": "Resize both sides to the plane's.",
    "center": (
        "Resize so that the shorter side is the plane's, keeping proportions (the longer side to the nearest pixel, a half "
        "upwards); cut the plane out of the middle, an odd pixel more to the right and below."
    ),
    "pad": (
        "Resize so that the longer side is the plane's, keeping proportions (the shorter side to the nearest pixel, a half "
        "upwards, at least 1); lay it in the middle of a black plane, an odd pixel more of black to the right and below."
    ),
    "local": (
        "The photograph as it is; where a side is shorter than the plane's, enlarge it, keeping proportions, until the shorter "
        "one has the plane's."
    ),
}
GENERATOR = (
    "Philox4x64-10. The key is the first 16 bytes of SHA-256 over the ASCII text 'dcnn_fast views 1|SEED|DIGEST|COLUMN', two "
    "little-endian 64-bit words, where COLUMN is a column's key and DIGEST the hexadecimal SHA-256 over the bytes "
    "'dcnn_fast photo 1', height and width as little-endian 64-bit words, and the photograph's pixels, before they are "
    "reduced. Sample i takes the four words a, b, c, d of the block with counter (i + 1, 0, 0, 0). A draw from 0 to M is "
    "(word * (M // grid + 1) >> 64) * grid. top is the draw of a from 0 to plane - window, left that of b; for a local view "
    "the draws of c from 0 to height - plane and of d from 0 to width - plane are added, of the plane as it is made."
)


@dataclass(frozen=True)
class Difference:
    """The difference between one pass's score and the mean of `samples` samples.

    Attributes:
        photographs: The number measured.
        mean: The mean of the absolute differences.
        largest: The largest of the absolute differences.
        samples: The number of samples.
        why: The reason where no measurement was needed.
    """

    photographs: int
    mean: float
    largest: float
    samples: int = SAMPLES
    why: str = ""


def known_difference(model: Model) -> Difference | None:
    """Give the difference between one pass and the mean of samples where it follows from the network.

    Args:
        model: The model to export.

    Returns:
        The difference; None if it must be measured (`measured_difference`).
    """
    if model.spec.windows_differ:
        return None
    return Difference(0, 0.0, 0.0, why="every sample of a photograph is of the same pixels, so that one pass is their mean")


def described(model: Model, kind: str, difference: Difference | None) -> dict[str, Any]:
    """The JSON-ready metadata of a file of that kind; schema "export-metadata.v1.json"."""
    network = model.spec
    high = high_of(network.labels)
    said: dict[str, Any] = {
        "dcnn_fast_export": SCHEMA, "kind": kind, "version": metadata.version("dcnn-fast"),
        "model": {
            "name": network.name, "digest": model.digest, "labels": list(network.labels),
            "mean_is_of": None if high is None else network.labels[high],
        },
        "preprocessing": {
            "reading": READING, "long_side": network.long_side, "long_side_rule": _reduction(network.long_side),
            "resampling": RESAMPLING, "columns": [_column(each) for each in inputs_of(network)],
            "inside_the_file": "the mean is taken off the pixels and the scale multiplied; give it bytes from 0 to 255",
        },
        "sampling": {"samples": SAMPLES, "seed": SEED, "grid": GRID, "generator": GENERATOR},
    }  # fmt: skip
    if kind == "single":
        said["difference_from_samples"] = None if difference is None else asdict(difference)
    caution = model.provenance.get("caution")
    if isinstance(caution, str) and caution:
        said["caution"] = caution
    return said


def properties(model: Model, kind: str, difference: Difference | None) -> dict[str, str]:
    """The metadata of an ONNX file."""
    return {PROPERTY: json.dumps(described(model, kind, difference), allow_nan=False)}


def _column(each: ColumnInputs) -> dict[str, Any]:
    return {
        "key": each.key, "view": each.view, "plane": each.plane, "window": each.window, "windows_input": each.windows_name,
        "plane_input": each.plane_name, "offsets_input": each.offsets_name, "how": VIEWS[each.view],
    }  # fmt: skip


def _reduction(long_side: int | None) -> str:
    if long_side is None:
        return "The photograph is taken in its own size."
    return (
        f"Where the longer side has more than {long_side} pixels, resize it to {long_side} and the shorter one to "
        f"max(1, (2 * shorter * {long_side} + longer) // (2 * longer)), before the views are made."
    )
