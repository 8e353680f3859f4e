"""The head in Triton: two launches, whatever the number of columns and images, after one copy of a table to the device.

All columns share one launch, so that even a single image, which has few rows, gives the GPU a program for every tile of every
column. The label layer needs whole rows of all columns, hence the second launch.
"""

from __future__ import annotations

from itertools import accumulate

import torch

from dcnn_fast.ops import launch
from dcnn_fast.ops.head.backend import HeadBackend, Operands, Results
from dcnn_fast.ops.head.params import HeadParams

MAX_LABELS = 64  # a program holds all labels of its samples


class TritonHead(HeadBackend):
    """The head in Triton."""

    def can_run(self, params: HeadParams, device: torch.device) -> str | None:
        """None, or one sentence that says why not."""
        if why := launch.refused(device):
            return why
        if params.dtype != torch.float32:
            return f"the Triton kernel sums in float32, not in {params.dtype}"
        if params.results != torch.float32:
            return f"the Triton kernel gives results in float32, not in {params.results}"
        if params.labels > MAX_LABELS:
            return f"the Triton kernel takes up to {MAX_LABELS} labels, not {params.labels}"
        return None

    def forward(self, params: HeadParams, operands: Operands) -> Results:
        """Probabilities [samples, labels], their means and standard deviations [images, labels]."""
        like = operands.label_weight
        mean, std = like.new_empty(2, params.images, params.labels)
        results = Results(like.new_empty(params.samples, params.labels), mean, std)
        for what in launches_of(params, operands, results):
            launch.launch(what)
        return results


BACKEND = TritonHead()


def launches_of(params: HeadParams, operands: Operands, results: Results) -> tuple[launch.Launch, launch.Launch]:
    """The two launches, which write to `results`, all contiguous."""
    import triton.language as tl  # noqa: PLC0415 - importing the package must not need Triton

    from dcnn_fast.ops.head.triton_kernels import head_label_kernel, head_layer_kernel  # noqa: PLC0415

    features, weights, biases = (
        [each.contiguous() for each in tensors] for tensors in (operands.features, operands.weights, operands.biases)
    )
    label_weight, label_bias, counts = operands.label_weight, operands.label_bias, operands.counts
    indices = [None if rows is None else rows.contiguous() for rows in operands.window_of]
    sizes = [r * o for r, o in zip(params.rows, params.outputs, strict=True)]
    hidden = label_weight.new_empty(sum(sizes))
    # A column's row in the table: the addresses of features, weight, bias and the samples' rows (0: row i is sample i's), the
    # numbers of rows, inputs and outputs, and its start in `hidden`. After the columns: each image's first sample.
    table = [
        (x.data_ptr(), w.data_ptr(), b.data_ptr(), 0 if rows is None else rows.data_ptr(), *w_and_x, place)
        for x, w, b, rows, w_and_x, place in zip(
            features, weights, biases, indices, zip(params.rows, params.inputs, params.outputs, strict=True),
            accumulate(sizes[:-1], initial=0), strict=True,
        )
    ]  # fmt: skip
    numbers = torch.tensor(
        [*(n for row in table for n in row), *accumulate(counts, initial=0)], dtype=torch.int64, device="cpu"
    )
    numbers = launch.copied(numbers, label_weight.device)
    columns, first = numbers[: 8 * len(table)], numbers[8 * len(table) :]
    names = {torch.float32: tl.float32, torch.float16: tl.float16, torch.bfloat16: tl.bfloat16}
    item = params.weight_dtype.itemsize
    block = {"BM": 32, "BN": 32, "BK": 32}
    layer = launch.Launch(
        head_layer_kernel,
        (_tiles(max(params.rows), block["BM"]), _tiles(max(params.outputs), block["BN"]), len(table)),
        {"table": columns, "hidden": hidden},
        {
            "FEATURE": names[features[0].dtype],
            "WEIGHT": names[params.weight_dtype],
            "ALIGNED": all((row[0] | row[1] | row[5] * item) % 16 == 0 for row in table),
            **block,
        },
        stages=3,
        reads=[*features, *weights, *biases],
    )
    probs, mean, std = results
    wide = max(16, 1 << (params.labels - 1).bit_length())
    label = launch.Launch(
        head_label_kernel,
        (params.images,),
        {
            "table": columns, "columns": len(table), "first": first, "hidden": hidden,
            "label_weight": label_weight.contiguous(), "label_bias": label_bias.contiguous(),
            "probs": probs, "mean": mean, "std": std, "labels": params.labels, "joined": params.joined,
        },
        {"BV": 1024 // wide, "BL": wide, "BK": 16},
        warps=8,
        reads=[rows for rows in indices if rows is not None],
    )  # fmt: skip
    return layer, label


def _tiles(extent: int, size: int) -> int:
    return -(-extent // size)
