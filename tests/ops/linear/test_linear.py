"""ops.linear: values, and bits that belong to the row."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.ops.launch import launch
from dcnn_fast.ops.linear import BACKENDS, LinearParams, cpu, triton
from tests import warm
from tests.ops.on_cpu import kernels_on_cpu

pytestmark = pytest.mark.gpu


def _operands(rows, inputs, outputs, dtype=torch.float32):
    generator = torch.Generator().manual_seed(rows + inputs)
    shapes = ((rows, inputs), (outputs, inputs), (outputs,))
    return tuple(torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype) for shape in shapes)


SHAPES = [(1, 1, 1), (3, 5, 2), (4, 8, 3), (7, 1023, 50), (70, 2049, 101), (130, 33, 7)]


def _ways():
    """Every way to compute the product here: the engine with every instruction set, those in software too."""
    return ["reference", "triton", *engine.isas(), *engine.emulated_isas()]


def _run(way, x, weight, bias, params, result, threads, capability=80):
    if way == "reference":
        result.copy_(BACKENDS["reference"].forward(params, x, weight, bias))
    elif way == "triton":
        assert BACKENDS["triton"].can_run(params, torch.device("cuda")) is None
        with kernels_on_cpu(capability):
            for what in triton.launches_of(params, x, weight, bias, result):
                launch(what)
    else:
        cpu.run(way, x, weight, bias, params, result, threads)


def _product(way, x, weight, bias, relu=False, threads=2, capability=80):
    params = LinearParams(*x.shape, weight.shape[0], relu, x.dtype)
    buffer = torch.full((params.rows * params.outputs + 128,), float("nan"), dtype=x.dtype)
    result = buffer[64:-64].view(params.rows, params.outputs)
    _run(way, x, weight, bias, params, result, threads, capability)
    assert buffer[:64].isnan().all()
    assert buffer[-64:].isnan().all()
    return result


@pytest.mark.parametrize("way", _ways())
@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_values(shape, relu, way):
    x, weight, bias = _operands(*shape)
    expected = x.double() @ weight.double().T + bias.double()
    expected = expected.relu() if relu else expected
    result = _product(way, x, weight, bias, relu)
    largest = (x.double() @ weight.double().T).abs().max()
    assert (result.double() - expected).abs().max() <= LinearParams(*x.shape, weight.shape[0]).tolerance() * largest


@pytest.mark.parametrize("way", _ways())
@pytest.mark.parametrize("precision", ["ieee", "bf16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nothing_beside_the_operands_is_read(shape, precision, way):
    """A NaN in a padded product is one in the output."""
    x, weight, bias = _operands(*shape)
    weight = weight.bfloat16() if precision == "bf16" else weight
    params = LinearParams(*x.shape, weight.shape[0], precision=precision)
    results = []
    for margin in (0, 100):
        cut = []
        for tensor in (x, weight, bias):
            buffer = torch.full((tensor.numel() + 2 * margin,), float("nan"), dtype=tensor.dtype)
            cut.append(buffer[margin : margin + tensor.numel()].view(tensor.shape).copy_(tensor))
        results.append(torch.full((params.rows, params.outputs), float("nan")))
        _run(way, *cut, params, results[-1], 1)
    assert torch.equal(*results)


AT_THE_END_OF_MEMORY = """
import ctypes, mmap, sys
import torch
from dcnn_fast import engine
from dcnn_fast.ops.linear import LinearParams, cpu

libc = ctypes.CDLL(None, use_errno=True)
kept = []

def at_the_end(tensor):
    size = tensor.numel() * tensor.element_size()
    room = -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
    pages = mmap.mmap(-1, room + mmap.PAGESIZE)
    kept.append(pages)
    start = ctypes.addressof(ctypes.c_char.from_buffer(pages))
    assert libc.mprotect(ctypes.c_void_p(start + room), ctypes.c_size_t(mmap.PAGESIZE), 0) == 0
    flat = torch.frombuffer(pages, dtype=tensor.dtype, count=tensor.numel(), offset=room - size)
    return flat.view(tensor.shape).copy_(tensor)

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
    """The operands end where memory does; in a process of its own, which a read too far would end."""
    result = warm.run(AT_THE_END_OF_MEMORY)
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("way", _ways())
def test_a_row_has_the_same_bits_alone_anywhere_and_on_any_number_of_threads(way):
    x, weight, bias = _operands(70, 2049, 101)
    together = _product(way, x, weight, bias, threads=1)
    for threads in (2, 3, 8):
        torch.set_num_threads(threads)
        assert torch.equal(_product(way, x, weight, bias, threads=threads), together)
    for row in (0, 3, 63, 64, 69):
        assert torch.equal(_product(way, x[row : row + 1], weight, bias)[0], together[row])
    order = torch.randperm(70, generator=torch.Generator().manual_seed(0))
    assert torch.equal(_product(way, x[order], weight, bias), together[order])


@pytest.mark.parametrize("way", _ways())
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_bf16_rounds_the_operands_and_nothing_else(shape, way):
    x, weight, bias = _operands(*shape)
    rounded = weight.bfloat16()
    expected = x.bfloat16().double() @ rounded.double().T + bias.double()
    params = LinearParams(*x.shape, weight.shape[0], precision="bf16")
    result, alone = torch.empty(params.rows, params.outputs), torch.empty(1, params.outputs)
    _run(way, x, rounded, bias, params, result, 2)
    _run(way, x[-1:], rounded, bias, replace(params, rows=1), alone, 1)
    assert torch.equal(alone[0], result[-1])
    largest = (x.double() @ weight.double().T).abs().max()
    assert (result.double() - expected).abs().max() <= params.tolerance() * largest


@pytest.mark.parametrize("capability", [80, 90])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_triton_takes_16_bits_and_sums_in_float32(dtype, capability):
    x, weight, bias = _operands(7, 3100, 50, dtype)
    expected = x.double() @ weight.double().T + bias.double()
    result = _product("triton", x, weight, bias, capability=capability)
    assert (result.double() - expected).abs().max() <= torch.finfo(dtype).eps * expected.abs().max()
    assert torch.equal(_product("triton", x[5:6], weight, bias, capability=capability)[0], result[5])


def test_triton_lets_nan_and_infinity_through_a_relu():
    x, weight, bias = _operands(3, 40, 5)
    x[0, 7], x[1, 9] = torch.nan, torch.inf
    weight[:, 9] = 1.0
    result = _product("triton", x, weight, bias, relu=True)
    assert result[0].isnan().all() and result[1].isposinf().all() and result[2].isfinite().all()


def test_triton_is_chosen_where_it_runs(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    x, weight, bias = _operands(3, 40, 5)
    with kernels_on_cpu() as launches:
        result = ops.linear(x, weight, bias)
        assert len(launches) == 2
        torch.testing.assert_close(ops.linear(x.double(), weight.double(), bias.double()).float(), result)
        assert ops.linear(x[:0], weight, bias).shape == (0, 5)
        assert len(launches) == 2


def test_a_bfloat16_weight_names_the_precision():
    x, weight, bias = _operands(4, 8, 3)
    result = ops.linear(x, weight.bfloat16(), bias)
    torch.testing.assert_close(result, x.bfloat16().float() @ weight.bfloat16().float().T + bias)
    with pytest.raises(TypeError, match="or float32 with a weight in bfloat16"):
        ops.linear(x.double(), weight.bfloat16(), bias.double())


def test_the_public_function_and_its_registration(monkeypatch):
    x, weight, bias = _operands(4, 8, 3, torch.float64)
    torch.testing.assert_close(ops.linear(x, weight, bias, relu=True), (x @ weight.T + bias).relu())
    torch.library.opcheck(torch.ops.dcnn_fast.linear, (x, weight, bias, True))
    compiled = torch.compile(lambda v: ops.linear(v, weight, bias), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(x), x @ weight.T + bias)
    assert ops.linear(x[:0], weight, bias).shape == (0, 3)


def test_bad_operands_are_named():
    x, weight, bias = _operands(4, 8, 3)
    with pytest.raises(ValueError, match=r"x must have shape \[rows, inputs\], got \[8\]"):
        ops.linear(x[0], weight, bias)
    with pytest.raises(ValueError, match=r"weight must have shape \[outputs, 8\]"):
        ops.linear(x, weight[:, :7], bias)
    with pytest.raises(ValueError, match=r"bias must have shape \[3\]"):
        ops.linear(x, weight, bias[:2])
    with pytest.raises(TypeError, match="one floating dtype"):
        ops.linear(x, weight.double(), bias)
    with pytest.raises(RuntimeError, match="linear has no backward"):
        ops.linear(x, weight.requires_grad_(), bias)
