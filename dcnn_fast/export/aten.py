"""A network as a torch program: exported, lowered to aten, for any number of windows."""

from __future__ import annotations

import io
import warnings

import torch
from torch.export import Dim, export, save

from dcnn_fast.export.inputs import inputs_of, require_exportable
from dcnn_fast.export.plain import PlainNetwork
from dcnn_fast.nets import MultiColumn
from dcnn_fast.ops.plain_torch import default_modes

_METADATA = "dcnn_fast.json"  # a file inside


def pt2_file(net: MultiColumn, metadata: str) -> bytes:
    """The network as `windows.pt2`, which `torch.export.load` reads without this package.

    It takes uint8 [samples, window, window, 3] for each column and returns the probabilities [samples, labels], float32.
    metadata: text to store inside as `dcnn_fast.json`. Raises ValueError for a network that cannot be exported.
    """
    require_exportable(net.spec)
    with default_modes(gradients=False):
        plain = PlainNetwork(net).eval()
        samples = Dim("samples", min=1)
        given = tuple(torch.zeros(2, each.window, each.window, 3, dtype=torch.uint8) for each in inputs_of(net.spec))
        shapes = {"windows": tuple({0: samples} for _ in given)}
        file = io.BytesIO()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's, about its internal copies
            program = export(plain, given, dynamic_shapes=shapes, strict=False).run_decompositions()
            save(program, file, extra_files={_METADATA: metadata})
    return file.getvalue()
