"""Builds an ONNX graph: nodes are added one by one, and values are identified by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from onnx import TensorProto, checker, helper, numpy_helper

OPSET, IR_VERSION = 17, 8  # ONNX 1.12 of 2022, the oldest with the operators needed
PRODUCER = "dcnn_fast"
_SMALL = 16  # constants of at most this many values are written once


@dataclass(frozen=True)
class Value:
    """An input or output. shape: the extent of each axis, or a name for a dynamic one."""

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    about: str


class Graph:
    """Nodes and constants, in order."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._small: dict[tuple[str, tuple[int, ...], bytes], str] = {}  # names of reusable constants

    def add(self, kind: str, *inputs: str, name: str | None = None, **attributes: Any) -> str:
        """Add a node of ONNX's operator `kind`. Returns the name of its first output, generated if not given."""
        result = name or f"{kind.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(kind, list(inputs), [result], name=result, **attributes))
        return result

    def constant(self, values: np.ndarray) -> str:
        """Add a constant with these values. Returns its name."""
        key = values.dtype.str, values.shape, values.tobytes() if values.size <= _SMALL else b""
        if values.size <= _SMALL and key in self._small:
            return self._small[key]
        name = f"constant_{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(values, name))
        if values.size <= _SMALL:
            self._small[key] = name
        return name

    def number(self, value: float) -> str:
        """A float32 scalar constant."""
        return self.constant(np.array(value, np.float32))

    def integers(self, *values: int) -> str:
        """A one-dimensional int64 constant."""
        return self.constant(np.array(values, np.int64))

    def file(
        self, name: str, about: str, inputs: Sequence[Value], outputs: Sequence[Value], properties: Mapping[str, str]
    ) -> bytes:
        """The graph as an ONNX file, validated by ONNX's checker."""
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
