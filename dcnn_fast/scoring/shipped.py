"""The model that comes with the package, and a model's caution about its scores."""

from __future__ import annotations

from pathlib import Path

from dcnn_fast.nets import Model


def shipped_model() -> Path:
    """The path of the model that comes with the package.

    Returns:
        A .safetensors file, as `load_model` reads it.

    Raises:
        FileNotFoundError: The file is missing.
    """
    path = Path(__file__).parent.parent / "models" / "default.safetensors"
    if not path.is_file():
        raise FileNotFoundError(f"the shipped model is missing: {path}")
    return path


def caution_of(model: Model) -> str | None:
    """The caution to show with the model's scores where they first appear: its provenance's "caution", if any."""
    said = model.provenance.get("caution")
    return said if isinstance(said, str) and said else None
