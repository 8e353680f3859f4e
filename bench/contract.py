"""The work that a time contains, for each side: printed before the times."""

from __future__ import annotations

from collections.abc import Sequence

from bench import gpu_cost
from bench.effort import Effort
from bench.peers import BF16_ERROR, FP32_ERROR

EVERY = (
    "every rival: the same weights and values in one process, run in turn, the median of the rounds. Before a time counts, its "
    f"output must agree with torch eager in fp32: within {FP32_ERROR:.0e} of the largest value in fp32, {BF16_ERROR:.0e} in "
    "bf16. What a column does to pixels is read from its spec by every rival. N threads: the number "
    "of torch and of our engine, ONNX Runtime's intra_op, OpenVINO's INFERENCE_NUM_THREADS. Weights are packed, and models "
    "built and compiled, before the time. A peer runs in the fastest of the settings that were tried in this run, which is "
    "printed; dcnn_fast has one setting."
)
BF16 = (
    "bf16: dcnn_fast rounds the operands of products and sums them in fp32; torch runs by autocast with its weights in bf16; "
    "OpenVINO by its precision hint; ONNX Runtime has none on the processor. What goes in and comes out is float32 for all, "
    "and rounding it is in the time."
)
PEAK = (
    "of peak: in fp32 of this run's multiply-adds in registers, in bf16 of torch's matrix product of 2048, for as many "
    "threads. A convolution counts as its sums over taps; one computed in tiles (Winograd) multiplies less and may pass 100 %."
)
SUITES = {
    "block": "in and out: float32, channels-last for dcnn_fast, for a peer the layout in its setting; conversions to its own "
    "layouts, to bf16 and back are in the time.",
    "score": "in: planes of bytes and offsets; out: float32 features of all 50 samples after the last fully-connected layer. "
    "dcnn_fast: planning, mean and scale, blocks, fully-connected layers. A peer: cutting the windows, to float32 in the "
    "layout of its setting, mean and scale, network, equal windows' rows repeated. Peers "
    "are given the distinct windows only, unless a case says all.",
    "backbone": "in: one picture, to dcnn_fast as bytes, to a peer as float32 levels in the layout of its setting; out: "
    "the means of the last layer's maps. Random weights of EfficientNet-Lite0's shapes, batch norms folded.",
    "c_library": "the C library and Python, alone. In: photographs as arrays of pixels; out: their scores, which must be equal."
    " As many callers as threads, each on one thread, or `score_many` with as many workers. A first score: a process from its "
    "start to its end, which reads the model's and the picture's file; Python with torch, and the example in C, which was "
    "compiled before.",
    "roofline": "dcnn_fast alone, layer by layer, on the results of the layer before; memory for the results is there already.",
    "paper": "dcnn_fast alone. From files: reading JPEG files, views, plans, network, scores, as `score_many` does it. "
    "Network: blocks, head and scores of what was read before. Before either counts, a photograph's scores must agree with "
    "those of torch eager over the same windows. N threads: so many images at a time, each on one thread.",
    "jpeg": "dcnn_fast alone. Decoding: reading, hashing, views, windows and plans. Network: blocks, head, scores. "
    "End to end: both, beside each other. Agreement and N threads: as in `paper`.",
    "read": "in: a JPEG file in memory, quality 92, 4:2:2, generated; out: its pixels upright and in sRGB, their digest, "
    "and the picture of 500 pixels that the shipped model's views are made of. Pillow, decoding alone, neither turns nor "
    "converts; Pillow to tensor is torchvision's to_tensor, as pyiqa takes photographs, and neither turns, converts, hashes "
    "nor reduces. The pixels must be those of Pillow and lcms. A profile's colors have been seen before. One thread; seconds "
    "of the processor.",
    "scaling": "dcnn_fast alone, as in `score`; images: `score_many` of arrays.",
    "training": "in: a mini-batch of windows of bytes in channels-last memory, and labels. A step: bytes to the network's "
    "input, forward with dropout, cross-entropy, backward, update. Torch: conv2d, relu in place, max_pool2d, norm, linear, SGD "
    "fused; eager in the fastest of two layouts and two norms. Ours gives a pool's gradient to the first of equal maxima "
    "(`train --ties first`), as torch does; all ties: to each of them, as `train` does by itself. The first step's "
    "loss and the movement of every parameter must agree with torch eager's, each within 1e-2 of the largest. Peak memory: of "
    "a process of its own over three steps, Python and libraries included. Threads: as many as there are cores.",
    "host": "dcnn_fast alone, on one thread. Launches of GPU kernels and copies are collected and not made. A fixed batch: 8 "
    "photographs that have been decoded, hashed and laid in the ring, up to their probabilities; one batch in 8 has all "
    "weights compared, as in a run of `score_many`; seconds of the processor. Plan, tables and launches: of the same but for "
    "the head, a plan for each. Plans: of the windows of one column. A small block: its kernel takes next to nothing. "
    "A training step on a GPU: a mini-batch whose photographs have been decoded, drawn and put in pinned memory, up to the "
    "update, 16 losses read at a time; seconds of the processor; fully-connected layers of a sixteenth of their units.",
    "serve": "the shipped model. In process: `score_many` of files in memory. Served: the same files by POST to a server of "
    "its own on loopback with as many workers as cores, over eight connections, each of which sends its next request when it "
    "has its answer; then requests at four times that rate, whose surplus is refused with 429. Client and server share the "
    "cores: the client's processor time is in the notes. Seconds a picture; every request must be answered.",
    "gpu": "where there is one: windows as bytes to the device, to float32, mean and scale, network in channels-last, "
    "features back.",
    "kernels": gpu_cost.MODEL,
}


def lines(suites: Sequence[str], effort: Effort) -> tuple[str, ...]:
    """The contract of these suites, one or more sentences per line."""
    sizes = f"sizes: {effort.windows} samples, and images of a block; {effort.batch} windows of a training step"
    tiny = ["tiny: the sizes are too small for times to mean anything; that everything runs and agrees is what is seen"]
    return (*(tiny if effort.tiny else []), sizes, EVERY, BF16, PEAK, *(f"{name}: {SUITES[name]}" for name in suites))
