"""Score photographs with an exported model: numpy, Pillow and ONNX Runtime, without dcnn_fast.

python examples/onnx_score.py EXPORT_FOLDER PHOTOGRAPH...
"""

from __future__ import annotations

import hashlib
import json
import struct
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

WORD = 2**64


def philox(key: tuple[int, int], counter: int) -> list[int]:
    """Philox4x64-10: four words of 64 bits."""
    a, b, c, d, (low, high) = counter, 0, 0, 0, key
    for _ in range(10):
        first, second = 0xD2E7470EE14C6C93 * a, 0xCA5A826395121157 * c
        a, b, c, d = second // WORD ^ b ^ low, second % WORD, first // WORD ^ d ^ high, first % WORD
        low, high = (low + 0x9E3779B97F4A7C15) % WORD, (high + 0xBB67AE8584CAA73B) % WORD
    return [a, b, c, d]


def offsets(digest: str, column: dict, shape: tuple[int, int], samples: int, seed: int) -> np.ndarray:
    """(top, left) of each sample's window: [samples, 2] int64."""
    key = struct.unpack("<2Q", hashlib.sha256(f"dcnn_fast views 1|{seed}|{digest}|{column['key']}".encode()).digest()[:16])
    window = column["plane"] - column["window"]
    limits = [window, window, shape[0] - column["plane"], shape[1] - column["plane"]]
    drawn = [[word * (most + 1) // WORD for word, most in zip(philox(key, i + 1), limits, strict=True)] for i in range(samples)]
    return np.array([[a + c, b + d] if column["view"] == "local" else [a, b] for a, b, c, d in drawn], np.int64)


def digest_of(pixels: np.ndarray) -> str:
    """The digest from which samples are drawn."""
    height, width, _ = pixels.shape
    return hashlib.sha256(b"dcnn_fast photo 1" + struct.pack("<2Q", height, width) + pixels.tobytes()).hexdigest()


def resized(pixels: np.ndarray, height: int, width: int) -> np.ndarray:
    """The pixels resized by antialiased bilinear interpolation."""
    if pixels.shape[:2] == (height, width):
        return pixels
    image = Image.fromarray(pixels)
    if image.height > height and image.height - height > 2 * (image.width - width):  # as Pillow 13 does automatically
        image = image.resize((image.width, height), Image.Resampling.BILINEAR)
    return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))


def scaled(pixels: np.ndarray, target: int, basis: int) -> np.ndarray:
    """Both sides scaled by target / basis, rounded to the nearest pixel, halves up."""
    height, width = (max(1, (2 * side * target + basis) // (2 * basis)) for side in pixels.shape[:2])
    return resized(pixels, height, width)


def plane_of(pixels: np.ndarray, view: str, side: int) -> np.ndarray:
    """The plane of one view."""
    if view == "warp":
        return resized(pixels, side, side)
    if view == "pad":
        inside, plane = scaled(pixels, side, max(pixels.shape[:2])), np.zeros((side, side, 3), np.uint8)
        top, left = (side - inside.shape[0]) // 2, (side - inside.shape[1]) // 2
        plane[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
        return plane
    short = min(pixels.shape[:2])
    if view == "local":
        return scaled(pixels, side, short) if short < side else pixels
    whole = scaled(pixels, side, short)  # center
    top, left = (whole.shape[0] - side) // 2, (whole.shape[1] - side) // 2
    return whole[top : top + side, left : left + side]


def score(session: onnxruntime.InferenceSession, about: dict, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of planes.onnx for a photograph, upright sRGB [H, W, 3] uint8."""
    digest, long_side = digest_of(pixels), about["preprocessing"]["long_side"]
    if long_side is not None and max(pixels.shape[:2]) > long_side:
        pixels = scaled(pixels, long_side, max(pixels.shape[:2]))
    inputs = {}
    for column in about["preprocessing"]["columns"]:
        plane = np.ascontiguousarray(plane_of(pixels, column["view"], column["plane"]))
        sampling = about["sampling"]
        inputs[column["plane_input"]] = plane
        inputs[column["offsets_input"]] = offsets(digest, column, plane.shape[:2], sampling["samples"], sampling["seed"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, inputs), strict=True))


def main() -> None:
    """Print a line of JSON for each photograph."""
    folder, photographs = Path(sys.argv[1]), sys.argv[2:]
    session = onnxruntime.InferenceSession(folder / "planes.onnx", providers=["CPUExecutionProvider"])
    about = json.loads(session.get_modelmeta().custom_metadata_map["dcnn_fast"])
    for path in photographs:
        image = ImageOps.exif_transpose(Image.open(path))  # files with other profiles than sRGB need more
        if image.mode not in ("RGB", "L") or "transparency" in image.info:
            sys.exit(f"{path}: {image.mode} needs more than this example does (docs/onnx.md)")
        found = score(session, about, np.asarray(image.convert("RGB")))
        probabilities = dict(zip(about["model"]["labels"], found["probabilities"].tolist(), strict=True))
        print(json.dumps({"path": path, "probs": probabilities, "mean": found["mean"].item() if "mean" in found else None}))


if __name__ == "__main__":
    main()
