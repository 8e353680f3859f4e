"""The three ONNX files of a network: from windows, from planes and offsets, and from the planes' centres, to probabilities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from dcnn_fast.export.graph import Graph, Value
from dcnn_fast.export.inputs import ColumnInputs, high_of, inputs_of, require_exportable
from dcnn_fast.export.layers import column_nodes, linear
from dcnn_fast.nets import AnyColumn, MultiColumn

_BOOL, _FLOAT = 9, 1  # ONNX's type codes
_ABOUT = {
    "windows": "From windows of planes to the probabilities of the labels, for each sample.",
    "planes": "From planes and the offsets of their windows to the probabilities that a score is: the means over the samples.",
    "single": "From planes to the probabilities of one sample, the window in the middle of each plane.",
}


def onnx_file(net: MultiColumn, kind: str, properties: Mapping[str, str]) -> bytes:
    """One of the files, with `properties` as its metadata.

    kind: "windows", "planes" or "single". Raises ValueError for a network that cannot be exported.
    """
    require_exportable(net.spec)
    graph, inputs = Graph(), inputs_of(net.spec)
    made: dict[str, Callable[[], tuple[list[Value], list[Value]]]] = {
        "windows": lambda: _windows(graph, net, inputs),
        "planes": lambda: _planes(graph, net, inputs),
        "single": lambda: _single(graph, net, inputs),
    }
    given, results = made[kind]()
    return graph.file(kind, _ABOUT[kind], given, results, properties)


def _windows(graph: Graph, net: MultiColumn, inputs: Sequence[ColumnInputs]) -> tuple[list[Value], list[Value]]:
    features = [column_nodes(graph, column, each.windows_name) for column, each in _paired(net, inputs)]
    _probabilities(graph, net, features, "probabilities")
    given = [
        Value(each.windows_name, "uint8", ("samples", each.window, each.window, 3), f"windows of column {each.key}, RGB 0-255")
        for each in inputs
    ]
    return given, [Value("probabilities", "float", ("samples", len(net.spec.labels)), "of each sample, a probability a label")]


def _planes(graph: Graph, net: MultiColumn, inputs: Sequence[ColumnInputs]) -> tuple[list[Value], list[Value]]:
    features, valid = [], []
    for column, each in _paired(net, inputs):
        plane, offsets = each.plane_name, each.offsets_name
        limits = _limits(graph, each)
        valid.append(_inside(graph, each, offsets, limits))
        if each.is_whole:  # computed once
            found = column_nodes(graph, column, graph.add("Unsqueeze", plane, graph.integers(0)))
            count = graph.add("Slice", graph.add("Shape", offsets), *map(graph.integers, (0, 1, 0)))
            shape = graph.add("Concat", count, graph.integers(column.spec.outputs), axis=0)
            features.append(graph.add("Expand", found, shape))
        else:
            features.append(column_nodes(graph, column, _cut(graph, each, offsets, limits)))
    samples = _refused(graph, _probabilities(graph, net, features), valid, "sample_probabilities")
    graph.add("ReduceMean", samples, axes=[0], keepdims=0, name="probabilities")
    given = [value for each in inputs for value in (_plane_input(each), _offsets_input(each))]
    return given, [*_over_samples(graph, net.spec.labels, samples)]


def _single(graph: Graph, net: MultiColumn, inputs: Sequence[ColumnInputs]) -> tuple[list[Value], list[Value]]:
    features, valid = [], []
    for column, each in _paired(net, inputs):
        limits = _limits(graph, each)
        centre = graph.add("Div", limits, graph.integers(2))  # an odd remainder goes to the right and the bottom
        offsets = graph.add("Unsqueeze", centre, graph.integers(0))
        valid.append(_inside(graph, each, offsets, limits))
        features.append(column_nodes(graph, column, _cut(graph, each, offsets, limits)))
    samples = _refused(graph, _probabilities(graph, net, features), valid)
    graph.add("Squeeze", samples, graph.integers(0), name="probabilities")
    labels = net.spec.labels
    results = [Value("probabilities", "float", (len(labels),), f"of the labels {', '.join(labels)}")]
    high = high_of(labels)
    if high is not None:
        graph.add("Gather", "probabilities", graph.constant(np.array(high, np.int64)), axis=0, name="mean")
        results.append(Value("mean", "float", (), f"the probability of {labels[high]}"))
    return [_plane_input(each) for each in inputs], results


def _paired(net: MultiColumn, inputs: Sequence[ColumnInputs]) -> list[tuple[AnyColumn, ColumnInputs]]:
    pairs = []
    for column, each in zip(net.columns, inputs, strict=True):
        assert isinstance(column, AnyColumn)
        pairs.append((column, each))
    return pairs


def _plane_input(each: ColumnInputs) -> Value:
    return Value(each.plane_name, "uint8", each.plane_shape, f"the plane of column {each.key}, RGB 0-255, rows from the top")


def _offsets_input(each: ColumnInputs) -> Value:
    return Value(each.offsets_name, "int64", ("samples", 2), f"(top, left) of the windows of column {each.key}, inclusive")


def _probabilities(graph: Graph, net: MultiColumn, features: Sequence[str], name: str | None = None) -> str:
    joined = features[0] if len(features) == 1 else graph.add("Concat", *features, axis=1)
    return graph.add("Softmax", linear(graph, net.label, joined), axis=1, name=name)


def _over_samples(graph: Graph, labels: Sequence[str], samples: str) -> list[Value]:
    """The mean and population standard deviation of the probability in a score's `mean`."""
    results = [
        Value("probabilities", "float", (len(labels),), f"means over the samples, of the labels {', '.join(labels)}"),
        Value("sample_probabilities", "float", ("samples", len(labels)), "of each sample, a probability a label"),
    ]
    high = high_of(labels)
    if high is None:
        return results
    each = graph.add("Gather", samples, graph.constant(np.array(high, np.int64)), axis=1)
    mean = graph.add("ReduceMean", each, axes=[0], keepdims=0, name="mean")
    distance = graph.add("Sub", each, mean)
    variance = graph.add("ReduceMean", graph.add("Mul", distance, distance), axes=[0], keepdims=0)
    graph.add("Sqrt", variance, name="std")
    about = f"the probability of {labels[high]}"
    more = [
        Value("mean", "float", (), f"{about}, the mean over the samples"),
        Value("std", "float", (), f"{about}, its standard deviation over the samples"),
    ]
    return [*results, *more]


def _limits(graph: Graph, each: ColumnInputs) -> str:
    """The largest top and left: int64 [2]; negative where the plane is smaller than the window."""
    extents = graph.add("Slice", graph.add("Shape", each.plane_name), *map(graph.integers, (0, 2, 0)))
    return graph.add("Sub", extents, graph.integers(each.window))


def _inside(graph: Graph, each: ColumnInputs, offsets: str, limits: str) -> str:
    """Whether all windows lie in the plane and the plane is at least as large as the view's: a bool scalar."""
    zero = graph.integers(0)
    within = graph.add("And", graph.add("GreaterOrEqual", offsets, zero), graph.add("LessOrEqual", offsets, limits))
    large = graph.add("GreaterOrEqual", limits, graph.integers(each.plane - each.window))
    together = graph.add("Cast", graph.add("And", within, large), to=_FLOAT)  # [samples, 2]
    least = graph.add("ReduceMin", together, axes=[0, 1], keepdims=0)
    return graph.add("Cast", least, to=_BOOL)


def _refused(graph: Graph, values: str, valid: Sequence[str], name: str | None = None) -> str:
    """NaN in place of results from pixels other than requested."""
    together = valid[0]
    for each in valid[1:]:
        together = graph.add("And", together, each)
    return graph.add("Add", values, graph.add("Where", together, graph.number(0.0), graph.number(np.nan)), name=name)


def _cut(graph: Graph, each: ColumnInputs, offsets: str, limits: str) -> str:
    """The windows at these offsets: uint8 [samples, window, window, 3]. Offsets outside are clamped; `_inside` detects them."""
    zero, along = graph.integers(0), graph.constant(np.arange(each.window, dtype=np.int64)[None])
    kept = graph.add("Min", graph.add("Max", offsets, zero), graph.add("Max", limits, zero))
    tops, lefts = (graph.add("Gather", kept, graph.integers(axis), axis=1) for axis in (0, 1))  # [samples, 1]
    height, width = (
        graph.add("Slice", graph.add("Shape", each.plane_name), *map(graph.integers, (axis, axis + 1, 0))) for axis in (0, 1)
    )
    rows, cols = graph.add("Add", tops, along), graph.add("Add", lefts, along)
    if each.is_free:  # a plane that is too small; the runtime refuses other wrong shapes
        rows = graph.add("Min", rows, graph.add("Sub", height, graph.integers(1)))
        cols = graph.add("Min", cols, graph.add("Sub", width, graph.integers(1)))
    rows = graph.add("Unsqueeze", rows, graph.integers(2))  # [samples, window, 1]
    cols = graph.add("Unsqueeze", cols, graph.integers(1))  # [samples, 1, window]
    places = graph.add("Add", graph.add("Mul", rows, width), cols)
    pixels = graph.add("Reshape", each.plane_name, graph.integers(-1, 3))
    return graph.add("Gather", pixels, places, axis=0)
