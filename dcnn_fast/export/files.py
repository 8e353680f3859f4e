"""Generates the files of an export one by one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from dcnn_fast.export import darktable, names
from dcnn_fast.export.about import Difference, described, known_difference, properties
from dcnn_fast.export.aten import pt2_file
from dcnn_fast.export.expected import as_json, expected
from dcnn_fast.export.inputs import inputs_of, require_exportable
from dcnn_fast.export.picture import picture_for, png
from dcnn_fast.export.programs import onnx_file
from dcnn_fast.nets import Model


@dataclass(frozen=True)
class Export:
    """A model as files for other programs.

    Args:
        model: The model to export.
        difference: Between one pass and fifty samples, from `measured_difference`; None where it was not measured.
        for_darktable: Whether a package for darktable is among the files.

    Raises:
        ValueError: The network scores no photographs, or its weights exceed an ONNX file's limit.

    Example:
        >>> for name, content in Export(load_model("model.safetensors")).files():  # doctest: +SKIP
        ...     (folder / name).write_bytes(content)
    """

    model: Model
    difference: Difference | None = None
    for_darktable: bool = False

    def __post_init__(self) -> None:
        require_exportable(self.model.spec)

    @property
    def names(self) -> tuple[str, ...]:
        """The files' names, in order of generation."""
        package = (darktable.package_id(self.model) + darktable.SUFFIX,) if self.for_darktable else ()
        return (*map(names.onnx, names.KINDS), names.PT2, *package, names.PICTURE, names.EXPECTED)

    def files(self) -> Iterator[tuple[str, bytes]]:
        """Make the files one by one; the expected answers are last.

        Returns:
            Each file's name and content.

        Raises:
            ValueError: The model's numbers are not finite.
        """
        pixels = picture_for(self.model.spec, inputs_of(self.model.spec))
        wanted = expected(self.model, pixels, names.PICTURE)  # before the first file, so that a failure leaves no file
        digests: dict[str, str] = {}
        for name in self.names[:-1]:
            content = png(pixels) if name == names.PICTURE else self._content(name)
            digests[name] = hashlib.sha256(content).hexdigest()
            yield name, content
        yield names.EXPECTED, as_json({**wanted, "files": digests})

    def _content(self, name: str) -> bytes:
        difference = self.difference or known_difference(self.model)
        if name == names.PT2:
            return pt2_file(self.model.net, as_json(described(self.model, "windows", None)).decode())
        if name.endswith(darktable.SUFFIX):
            return darktable.package(self.model, difference)
        kind = name.removesuffix(".onnx")
        return onnx_file(self.model.net, kind, properties(self.model, kind, difference))
