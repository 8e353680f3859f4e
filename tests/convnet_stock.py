"""Small layer files of the structures of cuda-convnet's and cuda-convnet2's thirteen examples, written from their documents.

NETWORKS: by name, and one of what they have not, the layer definitions, the layer parameters and the side of the images.
"""

from __future__ import annotations


def section(name, **keys):
    return f"[{name}]\n" + "".join(f"{key}={value}\n" for key, value in keys.items())


def conv(name, below, channels, filters, size=3, kind="conv", **more):
    keys = {"inputs": below, "channels": channels, "filters": filters, "filterSize": size, "padding": size // 2, "initW": 0.05}
    return section(name, type=kind, **{**keys, **({"partialSum": 1} if kind == "conv" else {}), **more})


def pool(name, below, channels, which="max", **more):
    return section(name, type="pool", pool=which, inputs=below, channels=channels, sizeX=3, stride=2, **more)


def norm(name, below, channels, kind="rnorm", size=3):
    return section(name, type=kind, inputs=below, channels=channels, size=size)


def fc(name, below, outputs, **more):
    return section(name, type="fc", inputs=below, outputs=outputs, **more)


DATA = section("data", type="data", dataIdx=0) + section("labels", type="data", dataIdx=1)


def ended(body, top, outputs=4, **more):
    """The whole file: data, layers, and a label layer on `top`."""
    label = fc("fclabel", top, outputs, **{"initW": 0.1, **more})
    cost = section("probs", type="softmax", inputs="fclabel") + section("logprob", type="cost.logreg", inputs="labels,probs")
    return DATA + "".join(body) + label + cost


RATES = {"epsW": 0.001, "epsB": 0.002, "momW": 0.9, "momB": 0.9, "wc": 0.004}
SCALES = {"scale": 0.001, "pow": 0.75}


def params(weights, norms=(), **more):
    """Rates of layers with weights and numbers of norms. more: additional keys of single sections."""
    found = {name: dict(RATES) for name in weights} | {name: dict(SCALES) for name in norms} | {"logprob": {"coeff": 1}}
    for name, keys in more.items():
        found.setdefault(name, {}).update(keys)
    return "".join(section(name, **keys) for name, keys in found.items())


def cifar(norms, hidden, width=8):
    """Convolutions with the ReLU after a max-pool, or before an average one; the label layer on maps, or one layer above."""
    body, below, channels = [], "data", 3
    for number, which in enumerate(("max", "avg", "avg"), 1):
        late = {"neuron": "relu"}
        body.append(conv(f"conv{number}", below, channels, width, 5, **({} if number == 1 else late)))
        body.append(pool(f"pool{number}", f"conv{number}", width, which, start=0, outputsX=0, **(late if number == 1 else {})))
        below, channels = f"pool{number}", width
        if number < 3 and norms:
            body.append(norm(f"norm{number}", below, width))
            below = f"norm{number}"
    if hidden:
        body.append(fc("fc1", below, 12, initW=0.1, neuron="relu"))
        below = "fc1"
    names = ["conv1", "conv2", "conv3", *(["fc1"] if hidden else []), "fclabel"]
    return ended(body, below), params(names, ["norm1", "norm2"] if norms else []), 17


def with_local(norms, width, version=1):
    """Convolutions and, above them, two layers with different filters in each place."""
    moot = {"gpu": 0} if version == 2 else {}
    body = [conv("conv1", "data", 3, 8, 5, neuron="relu", **moot), pool("pool1", "conv1", 8)]
    below = "pool1"
    if norms:
        body.append(norm("norm1", "pool1", 8, "cmrnorm", 5))
        below = "norm1"
    body.append(conv("conv2", below, 8, 8, 5, neuron="relu"))
    if norms:
        body += [norm("norm2", "conv2", 8, "cmrnorm", 5), pool("pool2", "norm2", 8)]
    else:
        body.append(pool("pool2", "conv2", 8))
    body.append(conv("local3", "pool2", 8, width, kind="local", neuron="relu"))
    body.append(conv("local4", "local3", width, 4, kind="local", neuron="relu"))
    names = ["conv1", "conv2", "local3", "local4", "fclabel"]
    return (
        ended(body, "local4", **({} if norms else {"neuron": "ident"})),
        params(names, ["norm1", "norm2"] if norms else []),
        13,
    )


def everything():
    """Two paths from the pixels to the label layer, one of them a single layer; contrast norms, groups, random connections."""
    body = [
        conv("conv1", "data", 3, 4, 5, neuron="logistic", sharedBiases="true"),
        conv("local1", "conv1", 4, 4, kind="local", neuron="logistic"),
        fc("fcside", "data", 9, initW=0.001, neuron="relu"),
        section("pool1", type="pool", pool="max", inputs="local1", start=0, sizeX=4, stride=2, outputsX=0, channels=4),
        section("norm1", type="rnorm", inputs="pool1", channels=4, sizeX=5, scale=0.0002, pow=0.75),
        section("norm2", type="cnorm", inputs="norm1", channels=4, sizeX=3, scale=0.01, pow=0.5),
        conv("conv2", "norm2", 4, 2, groups=2, neuron="relu", sharedBiases="false"),
        conv("conv3", "conv2", 4, 3, groups=4, stride=2, neuron="relu", randSparse="true", filterChannels=2),
    ]
    weighted = ["conv1", "local1", "fcside", "conv2", "conv3", "fclabel"]
    own = {"epsW": "0.0001,0.001", "momW": "0.5,0.9", "wc": "0,0"}
    return ended(body, "conv3,fcside", initW="0.02,0.1"), params(weighted, fclabel=own), 10


def gradients():
    """An average pool that starts outside the image, neurons with parameters, and a layer that feeds the label layer too."""
    body = [
        conv("conv1", "data", 3, 4, padding=0, neuron="linear[3,2.2]"),
        section("pool1", type="pool", pool="avg", inputs="conv1", start=-2, sizeX=4, stride=4, outputsX=0, channels=4),
        conv("local1", "pool1", 4, 3, 5, kind="local", stride=3, groups=2, neuron="tanh[1.79,-0.66]", randSparse="true"),
    ]
    own = {"epsW": "0.001,0.001", "momW": "0,0", "wc": "0,0"}
    return ended(body, "local1,conv1", initW="0.2,0.05"), params(["conv1", "local1", "fclabel"], fclabel=own), 8


def alexnet(gpus):
    """Norms before the ReLU in the first layer, ReLUs after pools, two layers with dropout."""
    moot = {"gpu": gpus}
    body = [
        conv("conv1", "data", 3, 8, 5, padding=0, stride=2, sumWidth=4, **moot), norm("norm1", "conv1", 8, "cmrnorm", 5),
        pool("pool1", "norm1", 8, neuron="relu"), conv("conv2", "pool1", 8, 12, 5, initB=1, neuron="relu"),
        norm("norm2", "conv2", 12, "cmrnorm", 5), pool("pool2", "norm2", 12), conv("conv3", "pool2", 12, 8, neuron="relu"),
        conv("conv4", "conv3", 8, 8, initB=1), pool("pool3", "conv4", 8, neuron="relu"),
        fc("fc1", "pool3", 16, initB=1, neuron="relu"), section("drop1", type="dropout2", inputs="fc1"),
        fc("fc2", "drop1", 12, initB=1, neuron="relu"), section("drop2", type="dropout2", inputs="fc2"),
    ]  # fmt: skip
    names = ["conv1", "conv2", "conv3", "conv4", "fc1", "fc2", "fclabel"]
    rates = {name: {"epsW": "dexp[base=0.02;tgtFactor=250;numSteps=4]"} for name in names}
    return (
        ended(body, "drop2", initB=-7),
        params(names, drop1={"keep": 0.5}, norm1={**SCALES, "minDiv": 2}, norm2=SCALES, **rates),
        35,
    )


def two_halves():
    """Two towers that meet in a convolution of two inputs, again in each fully-connected layer, and in the label layer."""
    body, weighted = [], []
    for tower in "ab":
        body += [
            conv(f"conv1{tower}", "data", 3, 6, 5, stride=2, gpu=0), norm(f"norm1{tower}", f"conv1{tower}", 6, "cmrnorm", 5),
            pool(f"pool1{tower}", f"norm1{tower}", 6, neuron="relu"), norm(f"again{tower}", f"pool1{tower}", 6, "cmrnorm", 3),
            norm(f"inside{tower}", f"again{tower}", 6),
        ]  # fmt: skip
    both = {"initW": "0.05,0.02", "filterSize": "3,3", "padding": "1,1"}
    for tower in "ab":
        body.append(conv(f"conv2{tower}", "insidea,insideb", "6,6", "8,8", neuron="relu", **both))
    for tower, order in (("a", "conv2a,conv2b"), ("b", "conv2b,conv2a")):
        body += [fc(f"fc1{tower}", order, 10, neuron="relu", initW="0.05,0.05")]
        body += [section(f"drop{tower}", type="dropout", inputs=f"fc1{tower}")]
        weighted += [f"conv1{tower}", f"conv2{tower}", f"fc1{tower}"]
    norms = [f"{kind}{tower}" for kind in ("norm1", "again", "inside") for tower in "ab"]
    two = {"momW": "0.9,0.9", "wc": "0.0005,0.0005", "wball": "0,0"}
    of_two = dict.fromkeys(("conv2a", "conv2b", "fc1a", "fc1b", "fclabel"), two)
    return ended(body, "dropa,dropb", initW="0.1,0.1"), params([*weighted, "fclabel"], norms, **of_two), 17


def four_parts():
    """One tower of convolutions, then fully-connected layers in four parts, joined by `pass` layers."""
    body = [
        conv("conv1", "data", 3, 8, 5, stride=2),
        norm("norm1", "conv1", 8, "cmrnorm", 5),
        pool("pool1", "norm1", 8, neuron="relu"),
    ]
    names, parts = ["conv1"], "abcd"
    for part in parts:
        body += [
            fc(f"fc1{part}", "pool1", 6, neuron="relu", gpu=0),
            section(f"drop1{part}", type="dropout2", inputs=f"fc1{part}"),
        ]
    joined = ",".join(f"drop1{part}" for part in parts)
    body += [section(f"pass1{part}", type="pass", inputs=joined, gpu=0) for part in parts]
    for part in parts:
        body += [
            fc(f"fc2{part}", f"pass1{part}", 5, neuron="relu"),
            section(f"drop2{part}", type="dropout2", inputs=f"fc2{part}"),
        ]
        names += [f"fc1{part}", f"fc2{part}"]
    body.append(section("pass2", type="pass", inputs=",".join(f"drop2{part}" for part in parts), gpu=0))
    return ended(body, "pass2"), params([*names, "fclabel"], ["norm1"]), 15


def odds_and_ends():
    """Layers missing from the examples: sums, maxima, a pool that sums, numbers joined with maps, biases per place."""
    body = [
        conv("conv1", "data", 3, 4, neuron="abs", sharedBiases=0), conv("conv2", "data", 3, 4, neuron="softrelu"),
        section("sum1", type="eltsum", inputs="conv1,conv2", neuron="square"),
        section("max1", type="eltmax", inputs="conv1,conv2,sum1"),
        section("pool1", type="pool", pool="avg", inputs="max1", channels=4, sizeX=3, stride=3, outputsX=2, sum=1),
        conv("local1", "pool1,pool1", "4,4", "4,2", 3, kind="local", initW="0.1,0.2", neuron="abstanh[1.5,0.5]", groups="1,2"),
        section("sqrt1", type="neuron", neuron="sqrt", inputs="pool1"), fc("fc1", "local1,sqrt1", 7, initW="0.1,0.1"),
        section("brelu1", type="neuron", neuron="brelu[0.9]", inputs="fc1"), section("same", type="pass", inputs="brelu1"),
        section("all", type="concat", inputs="same,pool1"), section("drop1", type="dropout2", inputs="all"),
    ]  # fmt: skip
    weighted = params(["conv1", "conv2", "local1", "fc1", "fclabel"], sum1={"coeffs": "0.5,1.5"}, drop1={"keep": 0.75})
    return ended(body, "drop1"), weighted, 7


NETWORKS = {
    "18pct": cifar(True, False), "19pct": cifar(False, False), "80sec": cifar(False, True),
    "conv-local-11pct": with_local(True, 6),
    "conv-local-13pct": with_local(False, 4), "example": everything(), "gc": gradients(),
    "cifar10-11pct": with_local(True, 6, 2), "imagenet-1gpu": alexnet("0"), "imagenet-2gpu-data": alexnet("0,1"),
    "imagenet-2gpu-model": two_halves(), "imagenet-4gpu-data": alexnet("0,1,2,3"), "imagenet-4gpu-data-model": four_parts(),
    "odds and ends": odds_and_ends(),
}  # fmt: skip
