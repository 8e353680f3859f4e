"""ops.linear: values, and bits that depend on the row alone, on the reference, every engine instruction set, and Triton."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.ops.launch import launch
from dcnn_fast.ops.linear import BACKENDS, LinearParams, cpu, triton
from tests import warm
from tests.ops import tester
from tests.ops.on_cpu import kernels_on_cpu
from tests.ops.tester import CUDA, WAYS, Way

pytestmark = pytest.mark.gpu


def _operands(params):
    seed, weight_dtype = params.rows + params.inputs, torch.bfloat16 if params.precision == "bf16" else params.dtype
    return (
        tester.drawn(seed, params.rows, params.inputs, dtype=params.dtype),
        tester.drawn(seed + 1, params.outputs, params.inputs, dtype=weight_dtype),
        tester.drawn(seed + 2, params.outputs, dtype=params.dtype),
    )


def _compute(way, params, operands, results, threads):
    if way.backend == "reference":
        results[0].copy_(BACKENDS["reference"].forward(params, *operands))
    elif way.backend == "cpu":
        cpu.run(way.isa, *operands, params, *results, threads)
    else:
        assert BACKENDS["triton"].can_run(params, CUDA) is None
        for what in triton.launches_of(params, *operands, *results):
            launch(what)


def _stated(params, operands):
    """The result in float64 of operands rounded to the precision."""
    x, weight, bias = operands
    x = x.bfloat16() if params.precision == "bf16" else x
    result = x.double() @ weight.double().T + bias.double()
    return [result.relu() if params.relu else result]


def _allowed(params, operands, expected):
    """The allowed errors: 16-bit products are summed in float32, and the sum is rounded once."""
    x, weight, _ = operands
    if params.dtype.itemsize == 2:
        return [torch.finfo(params.dtype).eps * expected[0].abs().max()]
    return [params.tolerance() * (x.double() @ weight.double().T).abs().max()]


LINEAR = tester.Operation(
    operands=_operands,
    results=lambda params: ([(params.rows, params.outputs)], params.dtype),
    compute=_compute,
    statement=_stated,
    allowed=_allowed,
    items="rows",
)
SIZES = [(1, 1, 1), (3, 5, 2), (4, 8, 3), (7, 1023, 50), (70, 2049, 101), (130, 33, 7)]
PROBLEMS = [LinearParams(*sizes, relu) for sizes in SIZES for relu in (False, True)]
BF16 = [LinearParams(*sizes, precision="bf16") for sizes in SIZES]
EACH_WAY = pytest.mark.parametrize("way", WAYS, ids=str)


@EACH_WAY
@pytest.mark.parametrize("params", [*PROBLEMS, *BF16], ids=str)
def test_values(params, way):
    tester.values(LINEAR, way, params)


@EACH_WAY
@pytest.mark.parametrize("params", [*PROBLEMS[::2], *BF16], ids=str)
def test_nothing_beside_the_operands_is_read(params, way):
    tester.memory(LINEAR, way, params)


@EACH_WAY
def test_a_row_has_the_same_bits_alone_anywhere_and_on_any_number_of_threads(way):
    tester.bits(LINEAR, way, LinearParams(70, 2049, 101), alone=(0, 3, 63, 64, 69))


@EACH_WAY
@pytest.mark.parametrize("params", BF16, ids=str)
def test_the_last_row_has_the_same_bits_alone_in_bf16(params, way):
    tester.bits(LINEAR, way, params, threads=(), alone=[params.rows - 1])


@EACH_WAY
@pytest.mark.parametrize("relu", [False, True])
def test_nan_and_infinity_reach_their_row_through_a_relu_and_no_other(relu, way):
    tester.not_a_number(LINEAR, way, LinearParams(5, 40, 33, relu), at=(1, 7))


AT_THE_END_OF_MEMORY = """
import torch
from dcnn_fast import engine
from dcnn_fast.ops.linear import LinearParams, cpu
from tests.ops.end_of_memory import at_the_end

for isa in (*engine.isas(), *engine.emulated_isas()):
    for rows, inputs, outputs in ((1, 1, 1), (3, 5, 2), (7, 1023, 50), (70, 33, 7), (2, 64, 17), (1, 70, 100)):
        for bf16 in (False, True):
            x, weight, bias = torch.randn(rows, inputs), torch.randn(outputs, inputs), torch.randn(outputs)
            x, weight = (x.bfloat16().float(), weight.bfloat16()) if bf16 else (x, weight)
            params = LinearParams(rows, inputs, outputs, precision="bf16" if bf16 else "ieee")
            result = at_the_end(torch.full((rows, outputs), torch.nan))
            cpu.run(isa, at_the_end(x), at_the_end(weight), at_the_end(bias), params, result, 1)
            torch.testing.assert_close(result, x @ weight.float().T + bias, rtol=1e-4, atol=1e-3)
"""


@pytest.mark.needs_engine
def test_nothing_past_the_operands_is_touched():
    """The operands end where memory does; a read past them would end the separate process."""
    result = warm.run(AT_THE_END_OF_MEMORY)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_triton_takes_16_bits_and_sums_in_float32(dtype, capability):
    params, way = LinearParams(7, 3100, 50, dtype=dtype), Way("triton", capability=capability)
    tester.values(LINEAR, way, params)
    tester.bits(LINEAR, way, params, threads=(), alone=[5])


def test_triton_is_chosen_where_it_runs(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    x, weight, bias = _operands(LinearParams(3, 40, 5))
    with kernels_on_cpu() as launches:
        result = ops.linear(x, weight, bias)
        assert len(launches) == 2
        torch.testing.assert_close(ops.linear(x.double(), weight.double(), bias.double()).float(), result)
        assert ops.linear(x[:0], weight, bias).shape == (0, 5)
        assert len(launches) == 2


SMALL = LinearParams(4, 8, 3)


def test_a_bfloat16_weight_names_the_precision():
    x, weight, bias = _operands(SMALL)
    result = ops.linear(x, weight.bfloat16(), bias)
    torch.testing.assert_close(result, x.bfloat16().float() @ weight.bfloat16().float().T + bias)


def test_the_public_function_and_its_registration():
    x, weight, bias = _operands(replace(SMALL, dtype=torch.float64))
    torch.testing.assert_close(ops.linear(x, weight, bias, relu=True), (x @ weight.T + bias).relu())
    assert ops.linear(x[:0], weight, bias).shape == (0, 3)
    tester.registered(torch.ops.dcnn_fast.linear, x, weight, bias, True)
    tester.compiled(lambda v: ops.linear(v, weight, bias), x)


@EACH_WAY
def test_rows_may_lie_in_memory_as_they_like(way):
    x, weight, bias = _operands(SMALL)
    with way.running():
        tester.layouts(lambda v: ops.linear(v, weight.T.contiguous().T, bias), x)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"x": lambda x: x[0]}, ValueError, r"x must have shape \[rows, inputs\], got \[8\]"),
        ({"weight": lambda weight: weight[:, :7]}, ValueError, r"weight must have shape \[outputs, 8\]"),
        ({"bias": lambda bias: bias[:2]}, ValueError, r"bias must have shape \[3\]"),
        ({"weight": torch.Tensor.double}, TypeError, "one floating dtype"),
        (
            {"x": torch.Tensor.double, "weight": torch.Tensor.bfloat16, "bias": torch.Tensor.double}, TypeError,
            "or float32 with a weight in bfloat16",
        ),
        ({"weight": lambda weight: weight.clone().requires_grad_()}, RuntimeError, "linear has no backward"),
    ],
)  # fmt: skip
def test_bad_operands_are_refused_by_name(change, error, sentence):
    tester.refused(ops.linear, dict(zip(("x", "weight", "bias"), _operands(SMALL), strict=True)), change, error, sentence)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dtype": torch.float64}, "sums in float32, not in float64"),
        ({"precision": "tf32"}, "multiplies in ieee or bf16, not in tf32"),
        ({"rows": 2**31}, "counts rows, inputs and outputs below 2**31"),
    ],
)
def test_triton_refuses_in_a_sentence(change, sentence):
    tester.cannot_run(BACKENDS["triton"], SMALL, change, sentence)


@pytest.mark.needs_engine
@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"dtype": torch.float16}, "takes float32, not torch.float16"),
        ({"precision": "tf32"}, "in ieee fp32 or bf16, not in tf32"),
    ],
)
def test_the_engine_refuses_in_a_sentence(change, sentence):
    tester.cannot_run(BACKENDS["cpu"], SMALL, change, sentence, tester.CPU)
