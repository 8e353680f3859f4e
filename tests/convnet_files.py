"""Texts of cuda-convnet's files for tests."""

from __future__ import annotations

LAYERS = """
[data]
type=data
dataIdx=0

[labels]
type=data
dataIdx=1

[conv1]   # the first
type=conv
inputs=data
channels=3
filters=16
padding=0
stride=2
filterSize=5
initW=0.0001
partialSum=4
sharedBiases=true
neuron=relu

[pool1]
type=pool
pool=max
inputs=conv1
sizeX=3
stride=2
outputsX=0
channels=16

[norm1]
type=cmrnorm
inputs=pool1
channels=16
size=5

[conv2]
type=conv
inputs=norm1
channels=16
groups=2
filters=16
padding=1
filterSize=3
initW=0.01
initB=1
partialSum=0
neuron=relu

[fc1]
type=fc
inputs=conv2
outputs=20
initW=0.02
neuron=relu

[fc2]
type=fc
inputs=fc1
outputs=12
neuron=relu

[fclabel]
type=fc
inputs=fc2
outputs=2

[probs]
type=softmax
inputs=fclabel

[logprob]
type=cost.logreg
inputs=labels,probs
"""

_RULE = "epsW=0.001\nepsB=0.002\nmomW=0.9\nmomB=0.8\nwc=0.004\n"
PARAMS = (
    "".join(f"[{name}]\n{_RULE}" for name in ("conv1", "conv2", "fclabel"))
    + "".join(f"[{name}]\n{_RULE}dropout=0.5\n" for name in ("fc1", "fc2"))
    + "[norm1]\nscale=0.0002\npow=0.75\n[logprob]\ncoeff=1\n"
)
