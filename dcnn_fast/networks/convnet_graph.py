"""cuda-convnet's layers as a network, for layer-definition files and checkpoints (docs/cuda-convnet.md).

cuda-convnet describes a graph of small layers; a `Network` is columns. `assemble` follows the graph from its cost down to the
data. Layers that fit blocks become a column of blocks; others become a column of single layers (`networks.GraphColumn`). A
layer that fits neither is refused by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dcnn_fast.networks import bounds
from dcnn_fast.networks.convnet_column import ancestors, graph_column
from dcnn_fast.networks.convnet_layer import ConvNetError, Layer, Preprocessing, refuse
from dcnn_fast.networks.layers import Block, Column, CrossMapNorm, Norm, Pool, SameMapNorm, View, window_count
from dcnn_fast.networks.network import AnyColumn, Network
from dcnn_fast.printable import quoted


class _NoBlocksError(ConvNetError):
    """A file is valid, but columns of blocks cannot express it."""


@dataclass(frozen=True)
class Assembly:
    """A network and the places of cuda-convnet's layers in it.

    parts: the name of each layer with weights and the prefix of its parameters' names: "columns.0.blocks.1", "columns.0.fc.0",
    "label". shrink: for each part the factor for its weights, as its input was not
    scaled up in training; 1 where there is none. label_shrink: the same for the label layer's weights, for each column.
    label_inputs: the number of values from each layer below the label layer.
    """

    network: Network
    parts: Mapping[str, str]
    shrink: Mapping[str, float]
    label_shrink: tuple[float, ...]
    label_inputs: tuple[int, ...]


@dataclass
class _Draft:
    """An unfinished block."""

    conv: Layer
    relu: bool = False
    pool: Pool | None = None
    norm: Norm | None = None
    norm_first: bool = False


def assemble(
    layers: Sequence[Layer], data: Preprocessing, *, name: str = "cuda-convnet", labels: Sequence[str] | None = None
) -> Assembly:
    """The network of `layers`, in the order of their definition.

    labels: the names of the label layer's outputs; low and high where there are two, else their numbers. Raises ConvNetError.
    """
    if len(layers) > 2 * bounds.LAYERS:  # a neuron may be a separate layer
        raise ConvNetError(f"layers must be at most {bounds.LAYERS}, got {len(layers)}")
    by_name = _by_name(layers)
    label, tops, used = _label(by_name)
    if len(tops) > bounds.COLUMNS:
        raise refuse(label.name, "inputs", f"must be at most {bounds.COLUMNS} columns, got {len(tops)}")
    used |= ancestors(tops, by_name)
    for layer in layers:
        if layer.name not in used:
            raise refuse(layer.name, "type", f"this {layer.kind} layer's output reaches no cost through a column")
    made = _columns(tops, by_name, data)
    if len(data.views) not in (1, len(made)):
        raise ConvNetError(f"views must be one, or one for each of {len(made)} columns, got {len(data.views)}")
    parts = {layer: part for each in made for layer, part in each.parts.items()} | {label.name: "label"}
    shrink = {part: factor for each in made for part, factor in each.shrink.items()}
    outputs = int(label.values["outputs"])
    if not 2 <= outputs <= bounds.LABELS:  # before names are made below
        raise refuse(label.name, "outputs", f"must lie in 2 ... {bounds.LABELS}, got {quoted(outputs)}")
    names = tuple(labels) if labels is not None else ("low", "high") if outputs == 2 else tuple(map(str, range(outputs)))
    if len(names) != outputs:
        raise ConvNetError(f"labels must be {outputs} names, as [{label.name}] has that many outputs, got {len(names)}")
    try:
        network = Network(name, tuple(each.column for each in made), names)
    except ValueError as error:
        raise refuse(label.name, "outputs", str(error)) from None
    widths = tuple(width for each in made for width in each.widths)
    return Assembly(network, parts, shrink, tuple(each.factor for each in made), widths)


@dataclass(frozen=True)
class _Made:
    """A column. parts, shrink: as in `Assembly`. factor: for weights above it. widths: its tops' widths."""

    column: AnyColumn
    parts: Mapping[str, str]
    shrink: Mapping[str, float]
    factor: float
    widths: tuple[int, ...]


def _columns(tops: Sequence[Layer], by_name: Mapping[str, Layer], data: Preprocessing) -> list[_Made]:
    """The columns below the label layer, of blocks where possible.

    Layers that share a layer above the data are one column. All columns that see one picture become one where one of them
    cannot be of blocks or where the label layer's inputs from one column are not adjacent; columns of blocks alone stay
    separate, each with its own view.
    """
    groups = _groups(tops, by_name, data=False)
    if groups is None or any(_why_no_blocks(group, by_name, data) is not None for group in groups):
        groups = _groups(tops, by_name, data=True)
    if groups is None:
        raise refuse(tops[-1].name, "inputs", "the label layer's inputs from one picture must be next to one another")
    made = []
    for number, group in enumerate(groups):
        view = data.views[number % len(data.views)]
        prefix = f"columns.{number}"
        if _why_no_blocks(group, by_name, data) is None:
            made.append(_of_blocks(group[0], by_name, data, view, prefix))
        else:
            column, parts, widths = graph_column(group, by_name, data, view, prefix)
            made.append(_Made(column, parts, {}, 1.0, widths))
    return made


def _groups(tops: Sequence[Layer], by_name: Mapping[str, Layer], *, data: bool) -> list[list[Layer]] | None:
    """The tops grouped by shared layers below them; None where those of a group are not adjacent.

    data: whether a data layer counts as shared.
    """
    groups: list[tuple[set[str], list[Layer]]] = []
    for top in tops:
        below = {name for name in ancestors([top], by_name) if data or by_name[name].kind != "data"}
        mine = [group for group in groups if group[0] & below]
        if mine and mine[-1] is not groups[-1]:
            return None
        for group in mine:
            groups.remove(group)
        groups.append((below.union(*(names for names, _ in mine)), [*(layer for _, of in mine for layer in of), top]))
    return [of for _, of in groups]


def _why_no_blocks(group: Sequence[Layer], by_name: Mapping[str, Layer], data: Preprocessing) -> str | None:
    """Why the layers are not a column of blocks, or None. Raises ConvNetError for a fault that no column allows."""
    if len(group) > 1:
        return "several layers of one picture reach the label layer"
    try:
        _of_blocks(group[0], by_name, data, data.views[0], "")
    except _NoBlocksError as error:
        return str(error)
    return None


def _of_blocks(top: Layer, by_name: Mapping[str, Layer], data: Preprocessing, view: View, prefix: str) -> _Made:
    chain, parts = _chain(top, by_name), dict[str, str]()
    builder = _ColumnBuilder(data, prefix, parts)
    for layer in chain[1:]:
        builder.add(layer)
    column, factor = builder.column(view, chain[-1])
    shrink = {f"{prefix}.fc.{above}": factor for above in range(1, len(column.fc))}
    return _Made(column, parts, shrink, factor, (column.outputs,))


def _no_blocks(layer: str, key: str, why: str) -> _NoBlocksError:
    return _NoBlocksError(str(refuse(layer, key, why)))


def _by_name(layers: Sequence[Layer]) -> dict[str, Layer]:
    by_name: dict[str, Layer] = {}
    for layer in layers:
        if layer.name in by_name:
            raise refuse(layer.name, "name", "a layer of that name is defined already")
        if len(layer.inputs) > bounds.INPUTS:
            raise refuse(layer.name, "inputs", f"must be at most {bounds.INPUTS} layers, got {len(layer.inputs)}")
        for below in layer.inputs:
            if below not in by_name:
                raise refuse(layer.name, "inputs", f"a layer may only use layers defined above it, got {quoted(below)}")
        by_name[layer.name] = layer
    return by_name


def _label(by_name: Mapping[str, Layer]) -> tuple[Layer, list[Layer], set[str]]:
    """The label layer, the top layer of each column, and the names of the layers above the columns."""
    costs = [layer for layer in by_name.values() if layer.kind == "cost.logreg"]
    if len(costs) != 1:
        raise ConvNetError(f"layers must have exactly one cost.logreg, got {len(costs)}")
    (cost,) = costs
    if len(cost.inputs) != 2 or by_name[cost.inputs[0]].kind != "data" or by_name[cost.inputs[1]].kind != "softmax":
        raise refuse(cost.name, "inputs", "must be a data layer with the labels and a softmax layer")
    softmax = by_name[cost.inputs[1]]
    label = by_name[_only(softmax)]
    if label.kind != "fc":
        raise refuse(softmax.name, "inputs", f"must be an fc layer, got {quoted(label.name)}, a {label.kind} layer")
    if label.dropout:
        raise refuse(label.name, "dropout", "the label layer of a network has none")
    used = {*cost.inputs, cost.name, label.name}
    tops: list[Layer] = []
    for name in label.inputs:
        layer = by_name[name]
        if layer.kind in ("concat", "pass") and not layer.dropout:
            used.add(name)
            tops += [by_name[below] for below in layer.inputs]
        else:
            tops.append(layer)
    return label, tops, used


def _only(layer: Layer, error: type[ConvNetError] = ConvNetError) -> str:
    if len(layer.inputs) != 1:
        raise error(str(refuse(layer.name, "inputs", f"must be one layer, got {len(layer.inputs)}")))
    return layer.inputs[0]


def _chain(top: Layer, by_name: Mapping[str, Layer]) -> list[Layer]:
    """A column's layers from its data to `top`."""
    chain = [top]
    while chain[-1].kind != "data":
        chain.append(by_name[_only(chain[-1], _NoBlocksError)])
    return chain[::-1]


class _ColumnBuilder:
    """Builds a column from its layers, `add`ed from the data upwards; records them in `parts`."""

    def __init__(self, data: Preprocessing, prefix: str, parts: dict[str, str]) -> None:
        self.data, self.prefix, self.parts = data, prefix, parts
        self.blocks: list[Block] = []
        self.sizes: list[int] = []
        self.dropouts: list[tuple[float, bool]] = []
        self.draft: _Draft | None = None
        self.linear = False  # the previous layer is an fc without its relu so far
        self.extent, self.channels = data.window, len(data.mean)

    def add(self, layer: Layer) -> None:
        adders = {"conv": self._conv, "fc": self._fc, "dropout": self._dropout, "neuron": self._neuron, "pass": self._pass}
        adders |= dict.fromkeys(("pool", "cmrnorm", "rnorm"), self._tail)
        if layer.dropout and layer.kind not in ("fc", "dropout"):
            raise _no_blocks(layer.name, "dropout", "only the fully-connected layers of a column have dropout")
        if layer.kind not in adders:
            raise _no_blocks(layer.name, "type", f"a {layer.kind} layer inside a column cannot be said")
        adders[layer.kind](layer)

    def column(self, view: View, top: Layer) -> tuple[Column, float]:
        """The column, and the factor for weights on top of its fc layers."""
        self._finish_block()
        if self.linear:
            raise _no_blocks(top.name, "neuron", "the last fc layer of a column must have a relu")
        if len(set(self.dropouts)) > 1:
            raise _no_blocks(top.name, "dropout", "all fully-connected layers of a column must have the same dropout")
        if not self.blocks or not self.sizes:
            raise _no_blocks(top.name, "inputs", "a column needs a convolution and an fc layer below the label layer")
        dropout, keeps = self.dropouts[0]
        data = self.data
        try:
            column = Column(
                view, tuple(self.blocks), tuple(self.sizes), data.plane, data.window, len(data.mean), "up", dropout,
                data.mean, data.scale,
            )  # fmt: skip
        except ValueError as error:
            raise refuse(top.name, "inputs", str(error)) from None
        return column, 1 - dropout if keeps else 1.0

    def _conv(self, layer: Layer) -> None:
        if self.sizes:
            raise _no_blocks(layer.name, "inputs", "a convolution above a fully-connected layer cannot be said")
        self._finish_block()
        if not layer.values["sharedBiases"] or layer.values.get("randSparse"):
            raise _no_blocks(layer.name, "sharedBiases", "a block has biases of whole maps and no drawn connections")
        if layer.values["padding"] >= layer.values["filterSize"]:
            raise _no_blocks(layer.name, "padding", "a block's padding is less than its filters' size")
        if layer.values["channels"] != self.channels:
            found = quoted(layer.values["channels"])
            raise refuse(layer.name, "channels", f"must be its input's {self.channels}, got {found}")
        self.draft = _Draft(layer)

    def _fc(self, layer: Layer) -> None:
        if self.linear:
            raise _no_blocks(layer.name, "inputs", "the fc layer below it has no relu, and every layer of a column has one")
        self._finish_block()
        self.parts[layer.name] = f"{self.prefix}.fc.{len(self.sizes)}"
        self.sizes.append(int(layer.values["outputs"]))
        self.dropouts.append((layer.dropout, layer.keeps))
        self.linear = True

    def _dropout(self, layer: Layer) -> None:
        if not layer.dropout:
            return
        if not self.dropouts or self.dropouts[-1][0]:
            raise _no_blocks(layer.name, "inputs", "only fully-connected layers have dropout, one each")
        self.dropouts[-1] = (layer.dropout, layer.keeps)

    def _neuron(self, layer: Layer) -> None:
        if layer.values["neuron"] != "relu":
            raise _no_blocks(layer.name, "neuron", f"must be relu, got {quoted(layer.values['neuron'])}")
        if self.draft is None and not self.sizes:
            raise _no_blocks(layer.name, "inputs", "a relu must follow a convolution or a fully-connected layer")
        if self.draft is not None:
            self.draft.relu = True
        self.linear = False

    def _pass(self, layer: Layer) -> None:
        """Ignore a layer that does nothing."""

    def _tail(self, layer: Layer) -> None:
        if self.draft is None:
            raise _no_blocks(layer.name, "inputs", f"a {layer.kind} layer must follow a convolution")
        _add_to_block(self.draft, layer, self.draft.conv, self.extent)

    def _finish_block(self) -> None:
        if self.draft is None:
            return
        block = _block(self.draft)
        self.parts[self.draft.conv.name] = f"{self.prefix}.blocks.{len(self.blocks)}"
        self.blocks.append(block)
        self.extent, self.channels, self.draft = block.out_extent(self.extent, "up"), block.filters, None


def _add_to_block(draft: _Draft, layer: Layer, conv: Layer, extent: int) -> None:
    """Add a pool or norm to a block. extent: the side of its convolution's input."""
    values = layer.values
    if values["channels"] != conv.values["filters"]:
        wanted, found = quoted(conv.values["filters"]), quoted(values["channels"])
        raise refuse(layer.name, "channels", f"must be {wanted}, as its input has that many, got {found}")
    if (draft.pool if layer.kind == "pool" else draft.norm) is not None:
        raise _no_blocks(layer.name, "type", f"a second {layer.kind} of one convolution cannot be said")
    try:
        if layer.kind == "pool":
            if values["pool"] != "max" or values["start"]:
                raise _no_blocks(layer.name, "pool", "a block's pool is max and starts at 0")
            draft.pool = Pool(values["sizeX"], values["stride"])
            draft.norm_first = draft.norm is not None
            maps = _convolution(conv).conv_extent(extent, "up")
            covering = window_count(maps, draft.pool.size, draft.pool.stride, "up")
            if values.get("outputsX", 0) not in (0, covering):
                raise _no_blocks(
                    layer.name, "outputsX", f"must be 0 or {covering}, which covers the maps, got {quoted(values['outputsX'])}"
                )
            return
        if not draft.relu:
            raise _no_blocks(layer.name, "inputs", "a norm of maps without a relu cannot be said")
        if layer.kind == "cmrnorm":
            draft.norm = CrossMapNorm(values["size"], values["scale"], values["pow"], values["k"])
        elif values["k"] != 1:
            raise _no_blocks(layer.name, "minDiv", f"must be 1 for a norm within maps, got {values['k']}")
        else:
            draft.norm = SameMapNorm(values["size"], values["scale"], values["pow"])
    except ConvNetError:
        raise
    except ValueError as error:
        raise refuse(layer.name, "type", str(error)) from None


def _convolution(conv: Layer) -> Block:
    values = conv.values
    try:
        return Block(values["filters"], values["filterSize"], values["stride"], values["padding"], values["groups"])
    except ValueError as error:
        raise refuse(conv.name, "filters", str(error)) from None


def _block(draft: _Draft) -> Block:
    if not draft.relu:
        raise _no_blocks(draft.conv.name, "neuron", "must be relu")
    plain = _convolution(draft.conv)
    return Block(
        plain.filters, plain.size, plain.stride, plain.padding, plain.groups, draft.pool, draft.norm,
        "conv-norm-pool" if draft.norm_first else "conv-pool-norm",
    )  # fmt: skip
