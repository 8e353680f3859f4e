"""A package for darktable's inference subsystem: a zip of one folder, with `config.json` and the network as `model.onnx`.

Source: darktable's dev-doc/AI.md and src/ai/backend_common.c, 2026. Packages are installed and listed in its preferences.
darktable has no task for rating pictures, so none of its modules uses the package, and it makes no views: the caller of
`dt_ai_load_model` makes them as the file's metadata states.
"""

from __future__ import annotations

import io
import json
import re
import zipfile
from importlib import metadata

from dcnn_fast.export.about import Difference, described, properties
from dcnn_fast.export.programs import onnx_file
from dcnn_fast.nets import Model

SUFFIX = ".dtmodel"
_TASK = "general"  # darktable's default task
_DATE = (1980, 1, 1, 0, 0, 0)  # the date of the files inside, so that equal packages are equal bytes


def package_id(model: Model) -> str:
    """The package's name for darktable, also its folder's: lowercase, task first."""
    name = re.sub(r"[^a-z0-9]+", "-", model.spec.name.lower()).strip("-")[:60].strip("-")
    return f"{_TASK}-dcnn-fast-{name or 'network'}"


def package(model: Model, difference: Difference | None) -> bytes:
    """The package's content: the one-pass network with uint8 inputs, which darktable's tensors support."""
    name = package_id(model)
    config = {
        "id": name, "name": f"dcnn_fast {model.spec.name}",
        "description": "Rates photographs: how likely people find one above the median of those that the model learnt from",
        "task": _TASK, "backend": "onnx", "arch": "dcnn_fast", "version": metadata.version("dcnn-fast"), "tiling": False,
        "num_inputs": len(model.spec.columns), "attributes": described(model, "single", difference),
    }  # fmt: skip
    content = onnx_file(model.net, "single", properties(model, "single", difference))
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for inside, data in (("config.json", (json.dumps(config, indent=2) + "\n").encode()), ("model.onnx", content)):
            archive.writestr(zipfile.ZipInfo(f"{name}/{inside}", _DATE), data, zipfile.ZIP_DEFLATED)
    return file.getvalue()
