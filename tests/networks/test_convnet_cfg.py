"""cuda-convnet's layer files: supported ones are understood, and layers that no network has are refused by name."""

from __future__ import annotations

import pytest

from dcnn_fast.networks import Block, Column, CrossMapNorm, GraphColumn, Network, Pool, SameMapNorm
from dcnn_fast.networks.convnet_cfg import parse_convnet_cfg, read_convnet_cfg
from dcnn_fast.networks.convnet_layer import ConvNetError, Preprocessing
from dcnn_fast.networks.convnet_rules import LayerRule
from dcnn_fast.networks.graph_layers import (
    ConcatLayer,
    ConvLayer,
    DropoutLayer,
    FcLayer,
    NeuronLayer,
    PoolLayer,
    SumLayer,
)
from tests.convnet_files import LAYERS, PARAMS

DATA = Preprocessing(plane=40, window=32)
COLUMN = Column(
    "warp",
    (Block(16, 5, stride=2, pool=Pool(), norm=CrossMapNorm(5, 2e-4)), Block(32, 3, padding=1, groups=2)),
    (20, 12),
    plane=40,
    window=32,
)


def test_a_network_and_its_rules_are_read(tmp_path):
    (tmp_path / "layers.cfg").write_text(LAYERS)
    (tmp_path / "params.cfg").write_text(PARAMS)
    read = read_convnet_cfg(tmp_path / "layers.cfg", tmp_path / "params.cfg", DATA)
    assert read.network == Network("layers", (COLUMN,))
    assert list(read.rules) == ["columns.0.blocks.0", "columns.0.blocks.1", "columns.0.fc.0", "columns.0.fc.1", "label"]
    assert read.rules["columns.0.blocks.1"] == LayerRule("conv2", 0.001, 0.002, 0.9, 0.8, 0.004, deviation=0.01, bias=1)
    assert read.rules["columns.0.fc.0"].deviation == 0.02
    assert [note.partition(":")[0] for note in read.notes] == ["[conv1] partialSum", "[conv2] partialSum"]


def test_norm_before_pool_and_norms_in_the_wrong_file():
    layers = (
        LAYERS.replace("inputs=pool1", "inputs=conv1")
        .replace("sizeX=3", "size_X=3")
        .replace("inputs=conv1\nsize_X", "inputs=norm1\nsizeX")
    )
    layers = layers.replace("inputs=norm1\nchannels=16\ngroups", "inputs=pool1\nchannels=16\ngroups")
    first, rest = layers.split("[pool1]")
    pool, norm = rest.split("[norm1]")[0], rest.split("[norm1]")[1].split("[conv2]")[0]
    rest = rest.split("[conv2]")[1]
    norm = norm.replace("size=5", "sizeX=3\nscale=0.0003\npow=0.5").replace("cmrnorm", "rnorm")
    read = parse_convnet_cfg(
        f"{first}[norm1]{norm}[pool1]{pool}[conv2]{rest}", PARAMS.replace("scale=0.0002\npow=0.75", ""), DATA
    )
    block = read.network.columns[0].blocks[0]
    assert block.order == "conv-norm-pool" and block.pool == Pool() and block.norm == SameMapNorm(3, 3e-4, 0.5)
    assert any(note.startswith("[norm1] sizeX: the obsolete") for note in read.notes)
    assert any(note.startswith("[norm1] scale: belongs in the layer parameters") for note in read.notes)


def test_the_relu_may_follow_the_pool():
    layers = LAYERS.replace("sharedBiases=true\nneuron=relu", "").replace("outputsX=0", "outputsX=7\nneuron=relu")
    assert parse_convnet_cfg(layers, PARAMS, DATA).network.columns == (COLUMN,)


def second_column(layers):
    """A copy of the layers between data and label, with names that end in b."""
    names = ("conv1", "pool1", "norm1", "conv2", "fc1", "fc2")
    body = layers[layers.index("[conv1]") : layers.index("[fclabel]")]
    for name in names:
        body = body.replace(f"[{name}]", f"[{name}b]").replace(f"inputs={name}\n", f"inputs={name}b\n")
    return body


def two_columns(joined, data="data"):
    body = second_column(LAYERS).replace("inputs=data", f"inputs={data}")
    head, tail = LAYERS.split("[fclabel]")
    source = "[datab]\ntype=data\ndataIdx=2\n" if data == "datab" else ""
    join, inputs = ("[join]\ntype=concat\ninputs=fc2,fc2b\n", "join") if joined == "concat" else ("", "fc2,fc2b")
    params = PARAMS.replace("\n[", "\n\n[").split("\n\n")
    for part in list(params):
        name = part[1 : part.index("]")]
        if name not in ("fclabel", "logprob"):
            params.append(part.replace(name, f"{name}b", 1).replace("0.001", "0").replace("0.002", "0"))
    return f"{head}{source}{body}{join}[fclabel]{tail.replace('inputs=fc2', f'inputs={inputs}')}", "\n".join(params)


@pytest.mark.parametrize("joined", ["concat", "inputs"])
@pytest.mark.parametrize("data", ["data", "datab"])
def test_columns_are_joined_by_the_label_layer_and_frozen_without_rates(joined, data):
    layers, params = two_columns(joined, data)
    read = parse_convnet_cfg(layers, params, Preprocessing(("local", "warp"), 40, 32))
    first, second = read.network.columns
    assert (first.view, first.frozen, second.view, second.frozen) == ("local", False, "warp", True)
    assert read.rules["columns.1.fc.1"].layer == "fc2b" and read.rules["columns.1.fc.1"].fixed


def test_version_2_keys():
    layers = LAYERS.replace("partialSum=4", "sumWidth=6\ngpu=0").replace("size=5", "size=5\nminDiv=2")
    layers = layers.replace("[fclabel]", "[drop]\ntype=dropout2\ninputs=fc2\nkeep=0.25\n[fclabel]").replace(
        "inputs=fc2\noutputs=2", "inputs=drop\noutputs=2"
    )
    layers = layers.replace(
        "[fc2]\ntype=fc\ninputs=fc1", "[drop1]\ntype=dropout2\ninputs=fc1\nkeep=0.25\n[fc2]\ntype=fc\ninputs=drop1"
    )
    params = PARAMS.replace("dropout=0.5", "wball=0").replace("epsW=0.001", "epsW=dexp[base=0.01;tgtFactor=250;numSteps=4]")
    read = parse_convnet_cfg(layers, params, DATA)
    column = read.network.columns[0]
    assert column.dropout == 0.75 and column.blocks[0].norm == CrossMapNorm(5, 2e-4, 0.75, 2.0)
    rule = read.rules["label"]
    assert (rule.rate, rule.schedule, rule.bias_schedule) == (0.01, "dexp[tgtFactor=250;numSteps=4]", "const")


CHANGES = [
    ("pool=max", "pool=maxabs", r"\[pool1\] pool: must be max or avg"),
    ("type=cmrnorm", "type=blur", r"\[norm1\] type: blur"),
    ("type=cmrnorm", "type=wonder", r"\[norm1\] type: must be one of"),
    ("neuron=relu", "neuron=tanh[1]", r"\[conv1\] neuron: tanh must have 2 numbers in brackets"),
    ("size=5", "size=5\nblocked=1", r"\[norm1\] blocked:"),
    ("initB=1", "initWFunc=f.g()", r"\[conv2\] initWFunc:"),
    ("initB=1", "weightSource=conv1", r"\[conv2\] weightSource:"),
    ("neuron=relu", "neuron=sine", r"\[conv1\] neuron: must be one of ident, relu"),
    ("initB=1", "initCFunc=f.g()", r"\[conv2\] initCFunc:"),
    ("initB=1", "randSparse=true\nfilterChannels=5", r"\[conv2\] randSparse: must have 2 groups at least"),
    ("initB=1", "filterChannels=4", r"\[conv2\] filterChannels: must be channels / groups, got 4"),
    ("initB=1", "colour=red", r"\[conv2\] colour: is no key"),
    ("initB=1", "initB=nan", r"\[conv2\] initB: must be finite"),
    ("initW=0.01", "", r"\[conv2\] initW: is missing"),
    ("sharedBiases=true", "sharedBiases=maybe", r"\[conv1\] sharedBiases: must be 0, 1, true or false"),
    ("outputsX=0", "outputsX=9", r"\[pool1\] type: has windows outside its 15 x 15 input"),
    ("outputsX=0", "start=-3", r"\[pool1\] type: has windows outside its 15 x 15 input"),
    ("channels=3", "channels=4", r"\[conv1\] channels: must be its input's 3, got 4"),
    ("filters=16", "filters=many", r"\[conv1\] filters: must be an integer, got 'many'"),
    ("inputs=fc1", "inputs=fc2", r"\[fc2\] inputs: a layer may only use layers defined above"),
    ("inputs=fc2", "inputs=fc1", r"\[fc2\] type: this fc layer's output reaches no cost"),
    ("inputs=conv1", "inputs=conv1,data", r"\[pool1\] inputs: must be one layer, got 2"),
    ("[fc2]", "[fc1]", r"section 'fc1' already exists"),
    ("type=cost.logreg", "type=cost.sum2", r"\[logprob\] type: cost.sum2"),
    ("stride=2\nfilterSize=5", "stride=7\nfilterSize=5", r"\[conv1\] filters: Block: stride must not exceed"),
]


@pytest.mark.parametrize(("old", "new", "message"), CHANGES)
def test_what_a_network_cannot_say_is_refused_by_name(old, new, message):
    assert old in LAYERS
    with pytest.raises(ConvNetError, match=message):
        parse_convnet_cfg(LAYERS.replace(old, new, 1), PARAMS, DATA)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epsB=0.002\n", "", r"\[conv1\] epsB: is missing in the layer parameters"),
        ("coeff=1", "coeff=2", r"\[logprob\] coeff: must be 1"),
        ("dropout=0.5", "dropout=1", r"\[fc1\] dropout: must lie in \[0, 1\)"),
        ("coeff=1", "coeff=1\ndropout=0.5", r"\[logprob\] dropout: is no key"),
        ("wc=0.004", "wc=0.004,0.1", r"\[conv1\] wc: must be the same for all inputs"),
        ("wc=0.004", "wc=-1", r"\[conv1\] epsW: LayerRule: decay must not be negative"),
        ("wc=0.004", "wc=0\nwball=1", r"\[conv1\] wball:"),
        ("epsW=0.001", "epsW=dexp[base=1;numSteps=4]", r"\[conv1\] epsW: dexp must have the entries"),
        ("epsW=0.001", "epsW=step[base=1]", r"\[conv1\] epsW: a schedule must be one of"),
        ("[conv1]", "[convx]", r"\[conv1\] epsW: is missing in the layer parameters"),
    ],
)
def test_wrong_parameters_are_refused_by_name(old, new, message):
    assert old in PARAMS
    with pytest.raises(ConvNetError, match=message):
        parse_convnet_cfg(LAYERS, PARAMS.replace(old, new, 1), DATA)


@pytest.mark.parametrize("text", ["", "type=data", "[a\ntype=data", "[a]\ntype", "\0", "[\0]\ntype=data"])
def test_texts_that_are_no_layer_files(text):
    with pytest.raises(ConvNetError):
        parse_convnet_cfg(text)


def test_a_norm_needs_the_parameters():
    with pytest.raises(ConvNetError, match=r"\[norm1\] scale: a norm needs the layer-parameter file"):
        parse_convnet_cfg(LAYERS, None, DATA)


def test_where_version_2_reads_its_keys():
    layers = LAYERS.replace("[fclabel]", "[drop]\ntype=dropout2\ninputs=fc2\n[off]\ntype=dropout\ninputs=drop\n[fclabel]")
    layers = layers.replace("inputs=fc2\noutputs=2", "inputs=off\noutputs=2")
    layers = layers.replace("[fc2]\ntype=fc\ninputs=fc1", "[drop1]\ntype=dropout2\ninputs=fc1\n[fc2]\ntype=fc\ninputs=drop1")
    params = PARAMS.replace("dropout=0.5", "").replace("pow=0.75", "pow=0.75\nminDiv=2").replace("coeff=1", "coeff=1\ntopk=5")
    params += "[drop]\nkeep=0.25\n[drop1]\nenable=true\nkeep=0.25\n[off]\nenable=0\nkeep=0.5\n"
    column = parse_convnet_cfg(layers, params, DATA).network.columns[0]
    assert column.dropout == 0.75 and column.blocks[0].norm == CrossMapNorm(5, 2e-4, 0.75, 2.0)
    for old, new, message in (
        ("enable=true", "enable=maybe", r"\[drop1\] enable: must be 0, 1, true or false"),
        ("enable=true", "enable=0", r"\[drop1\] enable: a dropout2 that is off still multiplies"),
    ):
        with pytest.raises(ConvNetError, match=message):
            parse_convnet_cfg(layers, params.replace(old, new), DATA)


def test_a_byte_order_mark_and_carriage_returns_are_passed_over(tmp_path):
    for name, text in (("layers.cfg", LAYERS), ("params.cfg", PARAMS)):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.strip().replace("\n", "\r\n").encode())
    assert read_convnet_cfg(tmp_path / "layers.cfg", tmp_path / "params.cfg", DATA).network.columns == (COLUMN,)


def single_layers(old, new, params=PARAMS):
    """The layers of the only column, read with `old` replaced by `new`."""
    assert old in LAYERS
    (column,) = parse_convnet_cfg(LAYERS.replace(old, new, 1), params, DATA).network.columns
    assert isinstance(column, GraphColumn)
    return column.layers


def test_what_blocks_cannot_say_becomes_single_layers():
    assert single_layers("pool=max", "pool=avg")[2] == PoolLayer((2,), "avg")
    assert single_layers("outputsX=0", "outputsX=5")[2] == PoolLayer((2,), "max", outputs=5)
    assert single_layers("outputsX=0", "start=-1")[2] == PoolLayer((2,), "max", start=-1)
    assert single_layers("neuron=relu", "neuron=tanh[1.5,-2]")[1] == NeuronLayer((1,), "tanh", (1.5, -2.0))
    assert single_layers("sharedBiases=true", "sharedBiases=0")[0] == ConvLayer((0,), 16, 5, 2, bias="place")
    assert single_layers("initB=1", "randSparse=true")[4].connections  # drawn the same way every time
    dropped = single_layers("size=5", "size=5", PARAMS.replace("pow=0.75", "pow=0.75\ndropout=0.25"))
    assert dropped[4] == DropoutLayer((4,), 0.25)
    joined = single_layers("inputs=fc1", "inputs=fc1,conv2")
    assert FcLayer((6,), 12, bias=False) in joined and [type(layer) for layer in joined].count(SumLayer) == 1


def test_a_layer_above_the_maps_is_not_needed():
    head, tail = LAYERS.split("[fc1]")
    layers = head + "[fclabel]" + tail.split("[fclabel]")[1].replace("inputs=fc2", "inputs=conv2")
    params = "".join(part for part in PARAMS.replace("\n[", "\n\0[").split("\0") if not part.startswith(("[fc1]", "[fc2]")))
    read = parse_convnet_cfg(layers, params, DATA)
    assert read.network.columns[0].outputs == 32 * 7 * 7 and list(read.rules)[-1] == "label"


def test_comments_and_delimiters_are_those_of_the_original():
    layers = LAYERS.replace("=", " : ").replace("# the first", "; the first\n; a line").replace("3\n", "3 ; three\n", 1)
    assert parse_convnet_cfg(layers, PARAMS.replace("[conv1]\n", "[conv1]\n;none\n"), DATA).network.columns == (COLUMN,)


def test_parameters_of_layers_that_are_not_defined_are_noted():
    read = parse_convnet_cfg(LAYERS, PARAMS + "[conv9]\nepsW=1\n", DATA)
    assert read.network.columns == (COLUMN,)
    assert "[conv9] layer parameters: no layer of that name is defined; passed over" in read.notes


def test_the_last_of_a_key_that_is_there_twice_counts_and_is_noted():
    read = parse_convnet_cfg(LAYERS.replace("stride=2", "stride=1\nstride=2", 1), PARAMS, DATA)
    assert read.network.columns == (COLUMN,)
    assert "[conv1] stride: is there more than once; the last one counts" in read.notes
    with pytest.raises(ConvNetError, match="section 'conv2' already exists"):
        parse_convnet_cfg(LAYERS.replace("stride=2", "stride=1\nstride=2", 1) + "[conv2]\ntype=pass\n", PARAMS, DATA)


def test_sizes_are_known_without_the_parameters():
    read = parse_convnet_cfg(LAYERS, None, DATA, sizes_only=True)
    assert read.network.columns[0].extents() == COLUMN.extents()
    assert any(note.startswith("[norm1] scale, pow: are in the layer parameters") for note in read.notes)


def test_columns_that_see_one_picture_are_one_where_they_are_no_blocks():
    layers, params = two_columns("inputs")
    (column,) = parse_convnet_cfg(layers.replace("pool=max", "pool=avg", 1), params, DATA).network.columns
    assert isinstance(column, GraphColumn) and column.layers[-1] == ConcatLayer((12, 24))
    layers, params = two_columns("inputs", "datab")
    first, second = parse_convnet_cfg(layers.replace("pool=max", "pool=avg", 1), params, DATA).network.columns
    assert isinstance(first, GraphColumn) and isinstance(second, Column)


def test_pictures_meet_in_the_label_layer_alone():
    layers, params = two_columns("inputs", "datab")
    with pytest.raises(ConvNetError, match=r"a second data layer below one column"):
        parse_convnet_cfg(layers.replace("inputs=fc1b", "inputs=fc1b,fc1"), params, DATA)


def test_of_a_norms_numbers_in_both_files_the_parameters_count():
    read = parse_convnet_cfg(LAYERS.replace("size=5", "size=5\nscale=7"), PARAMS, DATA)
    assert read.network.columns == (COLUMN,)
    assert "[norm1] scale: is in both files; that of the layer parameters counts" in read.notes
