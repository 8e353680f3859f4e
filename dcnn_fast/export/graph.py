"""An ONNX graph in the making: nodes are added one after another, and a value is known by its name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR_VERSION = 17, 8  # ONNX 1.12 of 2022: as old as what is needed allows
PRODUCER = "dcnn_fast"
_SMALL = 16  # values of a constant that is written once


@dataclass(frozen=True)
class Value:
    """An input or output. shape: of each axis its extent, or the name of one that differs from call to call."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    about: str


class Graph:
    """Nodes and constants, in order."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}  # names of constants that may come again

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """A node of ONNX's operator `kind`; the name of its first output, its own where none is given."""
        result = name or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [result], name=result, **attributes))
        return result

    def constant(self, values: np.ndarray) -> str:
        """The name of a constant with these values."""
        key = values.dtype.str, values.shape, values.tobytes() if values.size <= _SMALL else b""
        if values.size <= _SMALL and key in self._small:
            return self._small[key]
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        if values.size <= _SMALL:
            self._small[key] = name
        return name

    def number(self, value: float) -> str:
        """A constant of float32 without axes."""
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """A constant of int64 of one axis."""
        return self.constant(np.array(values, np.int64))

    def file(
        self, name: str, about: str, inputs: Sequence[Value], outputs: Sequence[Value], properties: Mapping[str, str]
    ) -> bytes:
        """The graph as an ONNX file, which ONNX's checker has passed."""
        graph = helper.make_graph(
            self._nodes, name, [_described(each) for each in inputs], [_described(each) for each in outputs],
            self._constants, doc_string=about,
        )  # fmt: skip
        model = helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name=PRODUCER,
            producer_version=metadata.version("dcnn-fast"), doc_string=about,
        )  # fmt: skip
        helper.set_model_props(model, dict(properties))
        checker.check_model(model, full_check=True)
        content: bytes = model.SerializeToString()
        return content


def _described(value: Value) -> Any:
    kind = getattr(TensorProto, value.dtype.upper())
    return helper.make_tensor_value_info(value.name, kind, list(value.shape), doc_string=value.about)
