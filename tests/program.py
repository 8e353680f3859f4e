"""A program's results with the package, as digests that must be the same wherever they are computed."""

from __future__ import annotations

import hashlib
import io
import os
import tempfile
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageCms

from dcnn_fast import Scorer, load_model, ops, save_model
from dcnn_fast.cli.rows import CSV
from dcnn_fast.data import load_set, read
from dcnn_fast.training import Settings, train
from tests import small
from tests.training import sets

PIXELS = np.random.default_rng(0).integers(0, 256, (64, 80, 3)).astype(np.uint8)
LABELS = "path,rating\n" + "".join(f"{i}.jpg,{i + 0.5}\n" for i in range(12))


def keep_model(folder):
    """Write the model that is used from then on: a module made later would have the default dtype of that place."""
    use_model(str(Path(folder) / "model.safetensors"))
    save_model(small.model(), kept_model())


def use_model(path):
    """Use the model in that file from then on."""
    os.environ["DCNN_FAST_TEST_MODEL"] = path


def kept_model():
    """The path of the model in use."""
    return os.environ["DCNN_FAST_TEST_MODEL"]


def photograph():
    """A JPEG file with an orientation and a profile."""
    exif = Image.Exif()
    exif[0x0112] = 6
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, "JPEG", exif=exif, icc_profile=profile)
    return file.getvalue()


def _digest(*values):
    state = hashlib.sha256()
    for value in values:
        kept = value.detach().contiguous().view(torch.uint8).numpy().tobytes() if isinstance(value, torch.Tensor) else value
        state.update(kept if isinstance(kept, bytes) else repr(kept).encode())
    return state.hexdigest()


def _trained(folder):
    """The weights after an epoch of two mini-batches."""
    with torch.inference_mode(False):  # training refuses inference mode
        model = load_model(kept_model())
    train(model.net, sets.data_set(16, 4), Settings(epochs=1, batch=8), Path(folder) / "run")
    return model.net.state_dict()


def _block():
    """A block with a bias, a pool and a norm, forward and backward."""
    rng = np.random.default_rng(3)
    x, weight, bias = (
        torch.from_numpy(rng.standard_normal(shape).astype(np.float32)).requires_grad_()
        for shape in ((2, 3, 13, 15), (8, 3, 5, 5), (8,))
    )
    y = ops.block(x, weight, bias, stride=2, padding=1, pool=ops.Pool(), norm=ops.CrossMapNorm())
    (y * y).sum().backward()
    return y, x.grad, weight.grad, bias.grad


def done(folder, *, trains=True):
    """All digests, by name. folder: for files. trains: including training; torch's loss hangs in a forked child, waiting for
    the parent's threads.
    """
    data, found = photograph(), {}
    found["pixels"] = _digest(read(data).pixels.tobytes(), read(data).notes)
    model = load_model(kept_model())
    for dtype in ("float32", "bfloat16"):
        scorer = Scorer(model, samples=3, dtype=dtype)
        scores = [scorer.score(data), *scorer.score_many([data, PIXELS], workers=2)]
        found[f"scores in {dtype}"] = _digest(*((score.probs, score.std, score.notes) for score in scores))
        found[f"rows of {dtype}"] = _digest(*(CSV.line(score) for score in scores))
    path = Path(folder) / "saved.safetensors"
    save_model(model, path)
    found["model file"] = _digest(path.read_bytes())
    found["its score"] = _digest(Scorer(load_model(path), samples=2).score(PIXELS).probs)
    labels = Path(folder) / "labels.csv"
    labels.write_text(LABELS, encoding="utf-8")
    for i in range(12):
        (labels.parent / f"{i}.jpg").write_bytes(data)
    read_set = load_set(labels)
    found["labels"] = _digest(*((example.key, example.label) for example in (*read_set.train, *read_set.test)))
    with torch.inference_mode(False), torch.enable_grad():
        found["block"] = _digest(*_block())
    if trains:
        found["training"] = _digest(*_trained(folder).values())
    return found


def done_somewhere(*, trains=True):
    """The same, in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return done(folder, trains=trains)
