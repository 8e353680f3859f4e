"""Layer files of cuda-convnet made to exhaust time or memory: each ends soon, with one sentence."""

from __future__ import annotations

import pytest

from tests import measured
from tests.convnet_files import LAYERS, PARAMS


def changed(old, new):
    assert old in LAYERS
    return LAYERS.replace(old, new, 1)


def section(name, **keys):
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())


def doubling(count):
    """Layers that each take the previous one twice."""
    return LAYERS + "".join(
        section(f"d{i}", type="concat", inputs=f"d{i - 1},d{i - 1}" if i else "fc2,fc2") for i in range(count)
    )


FILES = {
    "two hundred thousand layers": (
        lambda: LAYERS + "".join(section(f"l{i}", type="pass", inputs="data") for i in range(200_000)),
        "at most 1,048,576 characters",
    ),
    "twenty thousand layers": (
        lambda: LAYERS + "".join(section(f"l{i}", type="pass", inputs="data") for i in range(20_000)),
        "at most 1000 layers",
    ),
    "two billion outputs": (changed("outputs=20", "outputs=2000000000"), "fc must be at most 1048576"),
    "two billion labels": (changed("outputs=2\n", "outputs=2000000000\n"), "[fclabel] outputs: must lie in 2 ... 65536"),
    "two billion filters": (changed("filters=16", "filters=2000000000"), "2000000000"),
    "filters of two billion": (changed("filterSize=5", "filterSize=2000000000"), "size must be at most 255"),
    "a stride of two billion": (changed("stride=2", "stride=2000000000"), "stride must be at most 255"),
    "a padding of two billion": (changed("padding=0", "padding=2000000000"), "padding must be at most 255"),
    "groups of two billion": (changed("groups=2", "groups=2000000000"), "filterChannels: must be channels / groups"),
    "a norm of two billion": (changed("size=5", "size=2000000000"), "size must be at most 1023"),
    "a pool of two billion": (changed("sizeX=3", "sizeX=2000000000"), "size must be at most 255"),
    "layers of a million": (changed("outputs=20", "outputs=1000000").replace("outputs=12", "outputs=1000000"), "parameters"),
    "a number of five thousand digits": (
        changed("outputs=20", "outputs=" + "9" * 5000),
        "outputs: must be an integer, got '999",
    ),
    "a number of four thousand digits": (
        changed("outputs=20", "outputs=" + "9" * 4000),
        "fc must be at most 1048576, got more than",
    ),
    "a number that is none": (changed("outputs=20", "outputs=\u00b2"), "outputs: must be an integer, got '\u00b2'"),
    "a circle": (changed("inputs=conv1", "inputs=fc1"), "a layer may only use layers defined above it, got 'fc1'"),
    "itself": (changed("inputs=conv1", "inputs=pool1"), "a layer may only use layers defined above it, got 'pool1'"),
    "layers that double": (doubling(60), "reaches no cost"),
    "a hundred thousand inputs": (
        lambda: changed("inputs=fc2", "inputs=" + "fc2," * 100_000),
        "[fclabel] inputs: must be at most 64",
    ),
    "sixty-four times sixty-four columns": (
        changed("inputs=fc2\noutputs=2", "inputs=" + "all," * 64 + "\noutputs=2").replace(
            "[fclabel]", section("all", type="concat", inputs="fc2," * 64) + "[fclabel]"
        ),
        "[fclabel] inputs: must be at most 64 columns, got 4096",
    ),
    "a long line": (lambda: changed("inputs=conv1", "inputs=" + "x" * 900_000), "defined above it, got 'xxx"),
    "a long key": (
        lambda: changed("dataIdx=0", "dataIdx=0\n" + "x" * 900_000 + "=1"),
        "is no key that a layer of this type has",
    ),
    "a long name": (lambda: changed("[data]", "[" + "x" * 900_000 + "]"), "defined above it, got 'data'"),
    "a long type": (lambda: changed("type=data", "type=" + "x" * 900_000), "type: must be one of"),
    "a line that is none": (lambda: LAYERS + "x" * 900_000, "layer definitions: "),
    "nothing but comments": (lambda: "#" * 1_000_000, "must have a section for each layer"),
    "what refers to itself": (changed("outputs=20", "outputs=%(outputs)s"), "must be an integer, got '%(outputs)s'"),
    "three hundred thousand lines of one key": (
        lambda: changed("dataIdx=0", "dataIdx=0\n" + " 0\n" * 300_000),
        "dataIdx: must be an integer",
    ),
    "fifty megabytes": (lambda: "[a]\n" * 12_500_000, "at most 1,048,576 characters"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_layer_file_is_bounded_before_a_network_is_made(tmp_path, name):
    text, message = FILES[name]
    (tmp_path / "layers.cfg").write_text(measured.made(text))
    (tmp_path / "params.cfg").write_text(PARAMS)
    command = ("convert", "layers.cfg", "m.safetensors", "--layer-params", "params.cfg")
    measured.require_refused(message, *command, cwd=tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (lambda: "[conv1]\n" * 12_500_000, "layer parameters: must have at most 1,048,576 characters"),
        (PARAMS.replace("epsW=0.001", "epsW=" + "9" * 400), "epsW: must be finite, got '999"),
        (PARAMS.replace("epsW=0.001", "epsW=dexp[base=1;tgtFactor=10;numSteps=" + "9" * 5000 + "]"), "epsW: must be finite"),
        (PARAMS + "[nobody]\n" * 2, "section 'nobody' already exists"),
    ],
)
def test_a_parameter_file_is_bounded_too(tmp_path, text, message):
    (tmp_path / "layers.cfg").write_text(LAYERS)
    (tmp_path / "params.cfg").write_text(measured.made(text))
    command = ("convert", "layers.cfg", "m.safetensors", "--layer-params", "params.cfg")
    measured.require_refused(message, *command, cwd=tmp_path)
