"""Every backend of every operation keeps its operation's contract; mypy checks the signatures where `BACKENDS` are assigned."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch

from dcnn_fast import networks
from dcnn_fast.ops import CrossMapNorm, Pool
from dcnn_fast.ops.backbone import BACKENDS as BACKBONE
from dcnn_fast.ops.backbone.backend import BackboneBackend
from dcnn_fast.ops.backend import BACKENDS as NAMES
from dcnn_fast.ops.backend import Outpaced, explain
from dcnn_fast.ops.block import BACKENDS as BLOCK
from dcnn_fast.ops.block import prepare
from dcnn_fast.ops.block.backend import BlockBackend, Operands, Work
from dcnn_fast.ops.block.params import problems_of as block_problems
from dcnn_fast.ops.block.whole import whole_images
from dcnn_fast.ops.head import BACKENDS as HEAD
from dcnn_fast.ops.head import HeadParams
from dcnn_fast.ops.head.backend import HeadBackend
from dcnn_fast.ops.linear import BACKENDS as LINEAR
from dcnn_fast.ops.linear import LinearParams
from dcnn_fast.ops.linear.backend import LinearBackend
from dcnn_fast.ops.linear.params import problems_of as linear_problems
from dcnn_fast.ops.mbconv import BACKENDS as MBCONV
from dcnn_fast.ops.mbconv import MbConvParams
from dcnn_fast.ops.mbconv.backend import MbConvBackend
from dcnn_fast.ops.update import BACKENDS as UPDATE
from dcnn_fast.ops.update import UpdateParams
from dcnn_fast.ops.update.backend import UpdateBackend
from dcnn_fast.ops.views import BACKENDS as VIEWS
from dcnn_fast.ops.views import ViewParams
from dcnn_fast.ops.views.backend import ViewsBackend
from dcnn_fast.ops.views.cuts import Cut, CutList
from devtools.launches import collected
from tests.cli.command import run as command
from tests.ops.backbone.problems import TINY
from tests.ops.block.problems import SMALL, operands, problem, runnable

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
DTYPES = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
CONTRACTS = {
    "block": (BLOCK, BlockBackend),
    "linear": (LINEAR, LinearBackend),
    "mbconv": (MBCONV, MbConvBackend),
    "backbone": (BACKBONE, BackboneBackend),
    "head": (HEAD, HeadBackend),
    "update": (UPDATE, UpdateBackend),
    "views": (VIEWS, ViewsBackend),
}
PROBLEMS = {
    "block": [
        replace(params, dtype=source, weight_dtype=dtype, out_dtype=dtype, backward=backward)
        for params in SMALL
        for dtype in DTYPES
        for source in (dtype, torch.uint8)
        for backward in (False, True)
    ],
    "linear": [LinearParams(3, 5, 2, dtype=dtype) for dtype in DTYPES] + [LinearParams(2**31, 5, 2, precision="tf32")],
    "mbconv": [
        MbConvParams(1, 2, 3, 3, 12, 2, 3, dtype=dtype, precision=precision)
        for dtype in DTYPES
        for precision in ("ieee", "tf32")
    ],
    "backbone": [
        replace(TINY, dtype=dtype, precision=of) for dtype in (*DTYPES, torch.uint8) for of in ("ieee", "bf16", "tf32")
    ],
    "head": [HeadParams((2,), (5,), (3,), 2, 1, labels, dtype, dtype) for labels in (2, 65) for dtype in DTYPES],
    "update": [UpdateParams((3,), dtype, in_step=whole) for dtype in DTYPES for whole in (True, False)],
    "views": [CutList((Cut(0, ViewParams(rows, 40, "warp", 32), 0, 0, 32, 32),)) for rows in (30, 2**25)],
}


@pytest.mark.parametrize("operation", CONTRACTS)
def test_every_backend_is_one_by_its_operations_contract(operation):
    backends, contract = CONTRACTS[operation]
    assert backends.keys() <= set(NAMES)
    assert all(contract in type(backend).__mro__ for backend in backends.values())


@pytest.mark.parametrize("capability", [None, 75, 80, 120])
@pytest.mark.parametrize("operation", CONTRACTS)
def test_every_backend_answers_yes_or_one_sentence_and_names_what_is_better(operation, capability):
    """On the cpu, on an absent GPU and on a simulated one."""
    backends, _ = CONTRACTS[operation]

    def ask(device):
        for params in PROBLEMS[operation]:
            for answer in explain(backends, params, device):
                assert answer.refusal is None or re.fullmatch(r"[^\n]{10,}[^.\n]", answer.refusal)
            for backend in backends.values():
                better = backend.outpaced(params, device) if backend.can_run(params, device) is None else None
                assert better is None or (isinstance(better, Outpaced) and better.backend in backends and better.why)

    if capability is None:
        for device in (CPU, CUDA):
            ask(device)
    else:
        with collected(capability):
            ask(CPU)


@pytest.mark.parametrize("operation", CONTRACTS)
def test_a_backend_that_lacks_a_member_cannot_be_made(operation):
    backends, _ = CONTRACTS[operation]
    for backend in backends.values():
        kind = type(backend)
        members = [name for base in kind.__mro__[1:] for name in getattr(base, "__abstractmethods__", ())]
        assert "can_run" in members
        for member in set(members):
            left_out = (member, "__dict__", "__weakref__", "__abstractmethods__", "_abc_impl")
            own = {name: value for name, value in vars(kind).items() if name not in left_out}
            lacking = type(kind)("Lacking", kind.__bases__, own)
            with pytest.raises(TypeError, match=f"abstract.*{member}"):
                lacking()


def _printed(*arguments):
    """`dcnn-fast explain`'s answer for each problem: the backend that runs it, and why others do not."""
    found, last = {}, ""
    for line in command("explain", *arguments).stdout.splitlines():
        if reason := re.fullmatch(r"    not (\w+): (.*)", line):
            found[last][1][reason[1]] = reason[2]
        elif named := re.fullmatch(r"  (.*): (\w+)", line):
            last = named[1]
            found[last] = named[2], {}
    return found


def test_explain_prints_every_refusal():
    printed = _printed("scnn-arch1")
    column = networks.preset("scnn-arch1").columns[0]
    blocks = block_problems(column)
    asked = [(BLOCK, params) for each in blocks for params in (each, each.gradient())]
    asked += [(LINEAR, params) for params in linear_problems(column)[:-1]]  # the head computes the last layer
    for backends, params in asked:
        chosen, reasons = printed[str(params)]
        answers = explain(backends, params, CPU)
        assert reasons == {answer.backend: answer.refusal for answer in answers if answer.refusal is not None}
        assert chosen == next(answer.backend for answer in answers if answer.refusal is None)
    for operation, backends in (("head", HEAD), ("update", UPDATE)):
        (reasons,) = (found[1] for name, found in printed.items() if name.startswith(f"{operation}: "))
        assert reasons["triton"] == backends["triton"].can_run(PROBLEMS[operation][1], CPU)


PREPARED = problem(2, 3, 14, 13, 8, 5, torch.float32, stride=2, padding=1, pool=Pool(3, 2), norm=CrossMapNorm(5, 0.3))


def _result(params):
    return torch.full(params.out_shape, torch.nan).contiguous(memory_format=torch.channels_last)


def test_what_is_prepared_once_computes_what_each_call_does_and_keeps_its_operands():
    x, weight, bias = operands(PREPARED)
    for name in runnable(PREPARED):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("DCNN_FAST_BACKEND", name)
            expected = BLOCK[name].forward(PREPARED, Operands(weight, bias), x)
            own, added = weight.clone(), bias.clone()
            prepared = prepare(PREPARED, own, added)
            own.fill_(7.0)
            added.fill_(7.0)
            for _ in range(2):
                work = Work([x], whole_images(PREPARED), [_result(PREPARED)])
                prepared.run(work)
                if name != "reference":  # which pads whole images and regions in different places
                    assert torch.equal(work.outputs[0], expected), name
                torch.testing.assert_close(work.outputs[0], expected)
            assert prepared.launches is None


def test_regions_that_leave_their_source_are_refused_by_what_is_prepared():
    x, weight, bias = operands(PREPARED)
    prepared = prepare(PREPARED, weight, bias)
    with pytest.raises(ValueError, match="window must lie in its source"):
        prepared.run(Work([x[:, :, 1:]], whole_images(PREPARED), [_result(PREPARED)]))


@pytest.mark.parametrize("name", ["cuda", "triton"])
def test_every_work_of_what_is_prepared_is_one_launch_that_reads_the_same_weights(name, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", name)
    half = replace(PREPARED, dtype=torch.float16, weight_dtype=torch.float16, out_dtype=torch.float16)
    x, weight, bias = operands(half)
    with collected() as ran:
        prepared = prepare(half, weight, bias)
        assert prepared.launches is not None and prepared.launches.params == half
        for _ in range(2):
            prepared.run(Work([x], whole_images(half), [_result(half).half()]))
        own = prepared.launches.launch_of(ran[0].args | {"programs": x}, 1, prepared.launches.access(x), [x], [])
    assert len(ran) == 2
    for what in (*ran, own):
        assert what.args["weight"] is ran[0].args["weight"] and what.kernel == ran[0].kernel
