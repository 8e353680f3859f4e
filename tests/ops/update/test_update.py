"""The update: against cuda-convnet's rule in numpy, on the reference, the C++ engine and, in the PTX simulator, on Triton."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.ops.backend import BackendError, choose
from dcnn_fast.ops.update import BACKENDS, UpdateParams, triton
from dcnn_fast.ops.update.params import dense, same_order
from tests.ops import guarded, statements, tester
from tests.ops.on_cpu import kernels_on_cpu
from tests.ops.tester import Way

pytestmark = pytest.mark.gpu

BACKEND = pytest.mark.parametrize("backend", ["reference", "cpu", "triton"])
SHAPES = [(1,), (7,), (0,), (63,), (1024,), (3, 5, 4, 2), (1025,), (), (9, 7), (2049,)]


def _problem(shapes, dtype=torch.float32, offset=0, seed=0):
    """Parameters, gradients and increments with their buffers, and each parameter's own rate, momentum and decay."""
    generator = torch.Generator().manual_seed(seed)
    step = torch.promote_types(dtype, torch.float32)
    tensors = []
    for kind in (dtype, dtype, step):
        drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
        laid = [x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x for x in drawn]
        tensors.append([guarded.between(x.to(kind), offset) for x in laid])
    options = {
        "rates": [0.1 + 0.01 * i for i in range(len(shapes))],
        "momenta": [0.9 - 0.02 * i for i in range(len(shapes))],
        "decays": [0.3 + 0.05 * i for i in range(len(shapes))],
    }
    return tensors, options


def _check(backend, shapes, dtype, offset):
    tensors, options = _problem(shapes, dtype, offset)
    before = [[inner.double().numpy().copy() for inner, _ in kind] for kind in tensors]
    weights, gradients, increments = ([inner for inner, _ in kind] for kind in tensors)
    with Way(backend).running() as done:
        ops.update(weights, gradients, increments, **options)
    tolerance = UpdateParams((), dtype, increments[0].dtype).tolerance()
    rounding = 0 if dtype == increments[0].dtype else torch.finfo(dtype).eps
    for i, row in enumerate(zip(*options.values(), strict=True)):
        weight, gradient, increment = (kind[i] for kind in before)
        expected, step = statements.update(weight, gradient, increment, *row)
        rate, momentum, decay = row
        terms = momentum * np.abs(increment) + rate * np.abs(gradient) + decay * rate * np.abs(weight)
        assert (np.abs(increments[i].double().numpy() - step) <= tolerance * terms).all()
        allowed = tolerance * (terms + np.abs(weight)) + rounding * np.abs(expected)
        assert (np.abs(weights[i].double().numpy() - expected) <= allowed).all()
        assert np.array_equal(gradients[i].double().numpy(), gradient)
    guarded.assert_untouched(*(buffer for kind in tensors for _, buffer in kind))
    if backend == "triton":
        assert [what.grid for what, _ in done] == [(sum(-(-w.numel() // triton.BLOCK) for w in weights),)]


@BACKEND
@pytest.mark.parametrize("offset", [0, 1])
def test_values_are_those_of_the_rule(backend, offset):
    _check(backend, SHAPES, torch.float32, offset)


@BACKEND
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_dtypes(backend, dtype):
    if (backend, dtype) == ("cpu", torch.float16):
        with pytest.raises(BackendError, match="updates float32, float64 and bfloat16, not float16"):
            _check(backend, [(7,)], dtype, 0)
        return
    _check(backend, [(1025,), (7,)], dtype, 0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("threads", [1, 3])
def test_the_engines_bits_are_the_references(dtype, threads):
    """More values than a thread takes at a time, in parameters of any size; an infinity and a NaN among them."""
    tensors, options = _problem([(2**16 * 4 + 1,), (7, 9), (2**16,), (3, 5, 4, 2)], dtype, offset=1)
    given = [[inner for inner, _ in kind] for kind in tensors]
    given[1][0][5], given[0][0][9], given[2][2][3] = float("inf"), float("nan"), -float("inf")
    results = {}
    for backend in ("reference", "cpu"):
        copies = [[tensor.clone() for tensor in kind] for kind in given]
        with Way(backend).running(), engine.use_threads(threads):
            ops.update(*copies, **options)
        results[backend] = [tensor for kind in copies for tensor in kind]
    for ours, expected in zip(results["cpu"], results["reference"], strict=True):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0, equal_nan=True)


@BACKEND
@pytest.mark.parametrize("count", [1, 2, 3, 37])
def test_every_parameter_finds_its_own_row(backend, count):
    """Sizes around a block's, each with its own options."""
    sizes = (1023, 1024, 1025, 1) if count < 37 else (1, 3, 7)
    _check(backend, [(sizes[i % len(sizes)],) for i in range(count)], torch.float32, 0)


@BACKEND
def test_a_rate_of_0_leaves_a_parameter_and_its_increment_alone(backend):
    tensors, options = _problem([(7,), (5,), (63,)])
    weights, gradients, increments = ([inner for inner, _ in kind] for kind in tensors)
    before = weights[1].clone(), increments[1].clone()
    others = weights[0].clone(), weights[2].clone()
    options["rates"][1] = 0
    with Way(backend).running():
        ops.update(weights, gradients, increments, **options)
        ops.update([], [], [], rates=[], momenta=[], decays=[])
    assert torch.equal(weights[1], before[0])
    assert torch.equal(increments[1], before[1])
    assert not torch.equal(weights[0], others[0])
    assert not torch.equal(weights[2], others[1])


@BACKEND
def test_a_gradient_may_lie_in_memory_as_it_likes(backend):
    (weights, gradients, increments), options = _problem([(3, 5, 4, 2), (9, 7), (2, 1, 1, 3)])
    weights, gradients, increments = ([inner.clone() for inner, _ in kind] for kind in (weights, gradients, increments))
    expected = [w.clone() for w in weights]
    with Way(backend).running():
        ops.update(expected, gradients, [step.clone() for step in increments], **options)
        other = [gradients[0].contiguous(), gradients[1].T.contiguous().T, gradients[2].contiguous()]
        assert other[0].stride() != weights[0].stride()
        ops.update(weights, other, increments, **options)
        expanded = torch.ones(1).expand(9, 7)
        ops.update(weights[1:2], [expanded], increments[1:2], rates=[0.1], momenta=[0.0], decays=[0.0])
    assert torch.equal(weights[0], expected[0])
    assert torch.equal(weights[2], expected[2])
    torch.testing.assert_close(weights[1], expected[1] - 0.1)


@BACKEND
def test_a_parameters_bits_do_not_depend_on_the_others(backend):
    tensors, options = _problem([(1500,), (7,), (1025,)], offset=0)
    weights, gradients, increments = ([inner.clone() for inner, _ in kind] for kind in tensors)
    alone = [(w.clone(), step.clone()) for w, step in zip(weights, increments, strict=True)]
    with Way(backend).running():
        ops.update(weights, gradients, increments, **options)
        for i, (w, step) in enumerate(alone):
            ops.update([w], [gradients[i]], [step], **{name: [values[i]] for name, values in options.items()})
            assert torch.equal(w, weights[i])
            assert torch.equal(step, increments[i])


def test_gaps_in_memory_are_the_references_work():
    weight, twin = torch.randn(6, 8)[:, ::2], torch.zeros(6, 4)
    why = "takes parameters without gaps in memory"
    with kernels_on_cpu(80) as done:
        for backend in ("triton", "cpu"):
            assert why in BACKENDS[backend].can_run(UpdateParams((24,), in_step=False), weight.device)
        for parameter, step in ((weight, twin), (twin.T, torch.zeros(4, 6)), (weight, torch.zeros(6, 8)[:, ::2])):
            before = parameter.clone()
            ops.update([parameter], [torch.ones_like(parameter)], [step], rates=[0.5], momenta=[0.0], decays=[0.0])
            torch.testing.assert_close(parameter, before - 0.5)
    assert not done


def test_axes_of_one_value_do_not_make_another_order():
    one = torch.empty(2, 1, 1, 3)
    other = one.as_strided(one.shape, (3, 7, 5, 1))
    assert same_order(one, other)
    assert dense(other)
    assert not same_order(one, torch.empty(3, 1, 1, 2).transpose(0, 3))


def test_the_fastest_backend_that_runs_is_chosen(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    params, cpu = UpdateParams((3,)), torch.device("cpu")
    assert choose(BACKENDS, params, cpu) == "cpu"
    assert BACKENDS["cpu"].can_run(params, torch.device("cuda")) == "the C++ engine runs on the cpu, not on cuda"
    assert choose(BACKENDS, UpdateParams((3,), torch.float16), cpu) == "reference"
    assert BACKENDS["triton"].can_run(params, cpu) == "Triton's kernels run on cuda, not on cpu"
    with kernels_on_cpu(80):
        assert choose(BACKENDS, params, cpu) == "triton"
    assert UpdateParams((3, 4)).bytes == 7 * 20
    assert str(UpdateParams((3, 4))) == "2 parameters of 7 values-float32-float32"


def test_the_registration():
    tensors, options = _problem([(3,), (2, 2)])
    weights, gradients, increments = ([inner.clone() for inner, _ in kind] for kind in tensors)
    tester.registered(torch.ops.dcnn_fast.update, weights, gradients, increments, *options.values())
    expected, steps = [w.clone() for w in weights], [step.clone() for step in increments]
    ops.update(expected, gradients, steps, **options)

    @torch.compile(fullgraph=True, backend="aot_eager")
    def compiled(w, g, step):
        ops.update(w, g, step, **options)

    compiled(weights, gradients, increments)
    assert all(map(torch.equal, weights, expected))
    assert all(map(torch.equal, increments, steps))


BAD = [
    ({"gradients": []}, ValueError, "gradients must be one for each of 1 parameters, got 0"),
    ({"momenta": [0.9, 0.9]}, ValueError, "momenta must be one for each of 1 parameters, got 2"),
    ({"gradients": [None]}, TypeError, r"gradients\[0\] must be a torch.Tensor, got NoneType"),
    ({"gradients": lambda g: [g[0][:2]]}, ValueError, r"gradients\[0\] must have shape \[3\], got \[2\]"),
    (
        {name: lambda kind: [kind[0].half()] for name in ("parameters", "gradients", "increments")}, TypeError,
        r"increments\[0\] must have dtype torch.float32 for a parameter in torch.float16",
    ),
    ({"gradients": lambda g: [g[0].half()]}, TypeError, r"gradients\[0\] must have dtype torch.float32"),
    ({"gradients": lambda g: [g[0].to_sparse()]}, TypeError, r"gradients\[0\] must be dense, got layout torch.sparse_coo"),
    ({"increments": lambda step: [step[0].to("meta")]}, ValueError, r"increments\[0\] must be on cpu"),
    ({"parameters": lambda w: [w[0].long()]}, TypeError, "parameters must have one floating dtype, got torch.int64"),
    (
        {name: lambda kind: 2 * kind for name in ("parameters", "gradients", "increments", "rates", "momenta", "decays")},
        ValueError, "parameters must be different tensors",
    ),
]  # fmt: skip
BAD += [
    ({name: [value]}, ValueError, rf"{name}\[0\] must be finite and not negative, got {value}")
    for name in ("rates", "momenta", "decays")
    for value in (-1.0, float("nan"), float("inf"))
]


@pytest.mark.parametrize(("change", "error", "sentence"), BAD)
def test_bad_operands_are_refused_by_name(change, error, sentence):
    given = {name: [torch.zeros(3)] for name in ("parameters", "gradients", "increments")}
    tester.refused(ops.update, given | {"rates": [0.1], "momenta": [0.9], "decays": [0.0]}, change, error, sentence)
