"""The tester finds each kind of fault, planted in an operation that doubles rows and adds a weight."""

from __future__ import annotations

import signal
from dataclasses import dataclass, replace

import pytest
import torch
from torch.autograd.gradcheck import GradcheckError

from tests import warm
from tests.ops import tester
from tests.ops.tester import REFERENCE


@dataclass(frozen=True)
class Problem:
    images: int = 4
    width: int = 5

    def tolerance(self):
        return 1e-6


def _doubled(params, operands):
    x, weight = operands
    return [2 * x.double() + weight.double()]


def _right(way, params, operands, results, threads):
    results[0].copy_(_doubled(params, operands)[0])


RIGHT = tester.Operation(
    operands=lambda params: (tester.drawn(0, params.images, params.width), tester.drawn(1, params.width)),
    results=lambda params: ([(params.images, params.width)], torch.float32),
    compute=_right,
    statement=_doubled,
)


def _value(x, weight, result, threads):
    result[-1, -1] += 1e-4


def _left_out(x, weight, result, threads):
    result[-1, -1] = torch.nan


def _past_the_result(x, weight, result, threads):
    result.as_strided((1,), (1,), result.storage_offset() + result.numel())[0] = 1.0


def _past_the_input(x, weight, result, threads):
    values = torch.empty(0, dtype=x.dtype).set_(x.untyped_storage())
    if x.storage_offset() + x.numel() < len(values):
        result[-1, -1] += 0 * values[x.storage_offset() + x.numel()]


def _past_a_weight(x, weight, result, threads):
    _past_the_input(weight, x, result, threads)


def _by_batch(x, weight, result, threads):
    result.mul_(1 + 2**-23 * (len(x) > 1))


def _by_place(x, weight, result, threads):
    result[0].mul_(1 + 2**-23)


def _by_threads(x, weight, result, threads):
    result.mul_(1 + 2**-23 * (threads > 1))


def _nan_lost(x, weight, result, threads):
    result.nan_to_num_(0.0)


def _nan_spread(x, weight, result, threads):
    if x.isnan().any():
        result[-1] = torch.nan


def _infinity_made_nan(x, weight, result, threads):
    result[result.isinf()] = torch.nan


FAULTS = [
    (tester.values, _value), (tester.values, _left_out), (tester.values, _past_the_result),
    (tester.memory, _past_the_input), (tester.memory, _past_a_weight), (tester.memory, _past_the_result),
    (tester.bits, _by_batch), (tester.bits, _by_place), (tester.bits, _by_threads), (tester.bits, _past_the_result),
]  # fmt: skip
LOST = [_nan_lost, _nan_spread, _infinity_made_nan, _value]


def _with(fault):
    def compute(way, params, operands, results, threads):
        _right(way, params, operands, results, threads)
        fault(*operands, *results, threads)

    return replace(RIGHT, compute=compute)


@pytest.mark.parametrize(("check", "fault"), FAULTS)
def test_a_faulty_backend_is_found(check, fault):
    check(RIGHT, REFERENCE, Problem())
    with pytest.raises(AssertionError):
        check(_with(fault), REFERENCE, Problem())


@pytest.mark.parametrize("fault", LOST)
def test_a_backend_that_loses_or_makes_nan_is_found(fault):
    tester.not_a_number(RIGHT, REFERENCE, Problem(), at=(1, 2))
    with pytest.raises(AssertionError):
        tester.not_a_number(_with(fault), REFERENCE, Problem(), at=(1, 2))


def test_a_function_that_takes_one_layout_alone_is_found():
    x = tester.drawn(0, 2, 3, 4, 5)
    tester.layouts(lambda x: 2 * x, x)
    for wrong in (
        lambda x: x.as_strided(x.shape, torch.empty(x.shape).stride()).clone(),
        lambda x: x * (2 - x.is_contiguous()),
    ):
        with pytest.raises((AssertionError, RuntimeError)):
            tester.layouts(wrong, x)


class _WrongGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, grad):
        return 2.001 * grad


def test_a_wrong_gradient_is_found():
    x = tester.drawn(0, 3, 4, dtype=torch.float64)
    tester.gradients(lambda x: 2 * x, x)
    with pytest.raises(GradcheckError):
        tester.gradients(_WrongGradient.apply, x)


def test_a_wrong_registration_and_a_call_that_compiles_to_something_else_are_found():
    with torch.library._scoped_library("tests_tester", "FRAGMENT") as library:
        library.define("doubled(Tensor x) -> Tensor")
        library.impl("doubled", lambda x: 2 * x, "CPU")
        torch.library.register_fake("tests_tester::doubled", lambda x: x.new_empty(len(x)), lib=library)
        with pytest.raises(Exception, match="opcheck|shape|Shape"):
            tester.registered(torch.ops.tests_tester.doubled.default, torch.ones(2, 3))
    tester.compiled(lambda x: 2 * x, torch.ones(3))
    with pytest.raises(AssertionError):
        tester.compiled(lambda x: (3 if torch.compiler.is_compiling() else 2) * x, torch.ones(3))


def test_what_shares_its_weights_with_the_caller_is_found():
    def copying(weight):
        own = weight.clone()
        return lambda x: x * own

    tester.keeps_its_weights(copying, torch.ones(3), torch.ones(3))
    with pytest.raises(AssertionError):
        tester.keeps_its_weights(lambda weight: lambda x: x * weight, torch.ones(3), torch.ones(3))


def test_a_missing_refusal_is_found():
    def root(x):
        if x < 0:
            raise ValueError("x must not be negative")

    tester.refused(root, {"x": 4}, {"x": -1}, ValueError, "must not be negative")
    with pytest.raises(pytest.fail.Exception, match="DID NOT RAISE"):
        tester.refused(root, {"x": 4}, {"x": lambda x: x - 1}, ValueError, "must not be negative")
    with pytest.raises(ValueError, match="must not be negative"):
        tester.refused(root, {"x": -4}, {"x": -1}, ValueError, "must not be negative")

    class Backend:
        def can_run(self, params, device):
            return "there are too many images" if params.images > 8 else None

    tester.cannot_run(Backend(), Problem(), {"images": 9}, "too many images")
    for change, sentence in (({"images": 8}, "too many images"), ({"images": 9}, "too wide")):
        with pytest.raises(AssertionError):
            tester.cannot_run(Backend(), Problem(), change, sentence)


PAST = """
import ctypes
import torch
from tests.ops.end_of_memory import at_the_end, at_the_start

inside = at_the_end(torch.arange(3.0)), at_the_start(torch.arange(3.0))
print([ctypes.c_float.from_address(tensor.data_ptr() + 8).value for tensor in inside], flush=True)
ctypes.string_at({address}, 1)
"""


@pytest.mark.parametrize("address", ["inside[0].data_ptr() + 12", "inside[1].data_ptr() - 1"])
def test_a_byte_past_either_end_of_memory_ends_the_process(address):
    done = warm.run(PAST.format(address=address))
    assert (done.returncode, done.stdout) == (-signal.SIGSEGV, "[2.0, 2.0]\n"), done.stderr
