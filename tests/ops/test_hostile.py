"""Invalid arguments: every operation refuses them by name, and nothing crashes, hangs or is silently wrong.

Calls go through the public functions and through `torch.ops.dcnn_fast`, which anybody may call directly.
"""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from dcnn_fast import ops
from dcnn_fast.networks import CrossMapNorm, Pool
from dcnn_fast.ops.backend import BackendError
from dcnn_fast.ops.block import BlockOptions, params_of, prepare
from dcnn_fast.ops.block.backend import Work
from dcnn_fast.ops.region import Piece, Region, RegionList, Store, of_windows, whole

RAW = torch.ops.dcnn_fast
BACKENDS = (pytest.param("cpu", marks=pytest.mark.needs_engine), "reference")
REFUSALS = (ValueError, TypeError)
OPTIONS = {"padding": 1, "pool": Pool(2, 2), "norm": CrossMapNorm(3)}
FLAT = BlockOptions(**OPTIONS).flat()


@pytest.fixture(params=BACKENDS)
def backend(request, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", request.param)
    return request.param


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, WEIGHT, BIAS = drawn(2, 3, 9, 9), drawn(4, 3, 3, 3, seed=1), drawn(4, seed=2)


def table():
    return whole(2, 9, 9, size=3, stride=1, padding=1, rounding="up", pool=Pool(2, 2))


def outputs(count=2):
    return torch.full((count, 4, 5, 5), torch.nan).contiguous(memory_format=torch.channels_last)


def regions(listed, **options):
    return ops.block_regions([X], listed, WEIGHT, BIAS, **OPTIONS, **options)


# ---- Sizes.

HUGE = (1, 2**15, 2**31 - 1, 2**16)  # 2**62 values that share one element of memory


def expanded(*shape, dtype=torch.float32):
    return torch.zeros((1,) * len(shape), dtype=dtype).expand(shape)


def one_region(height, width, size):
    """One region with all outputs of an image, of which one is stored."""
    piece = Piece(0, 0, 1, 1, (Store(0, 0, 1, 1, 0, 0, 0, 0),))
    return RegionList.of(
        [Region(0, 0, 0, 0, height, width, 0, 0, height - size + 1, width - size + 1, 0, 0, (piece,))], [(1, 1, 1)]
    )


def of_one_region(height, width):
    return ops.block_regions([expanded(1, 1, height, width)], one_region(height, width, 3), drawn(1, 1, 3, 3))


MBCONV = ops.MbConvWeights(None, (drawn(1, 3, 3), drawn(1)), (drawn(1, 1), drawn(1)))
SIZES = {
    "a block's result": lambda: ops.block(expanded(*HUGE), expanded(1, 2**15, 3, 3)),
    "a block's result of bytes": lambda: ops.block(expanded(*HUGE, dtype=torch.uint8), expanded(1, 2**15, 3, 3)),
    "a block's images": lambda: ops.block(expanded(2**40, 1, 4, 4), drawn(1, 1, 3, 3)),
    "a source": lambda: ops.block_regions([expanded(*HUGE)], one_region(8, 8, 3), drawn(1, 2**15, 3, 3)),
    "a region": lambda: of_one_region(2**31 - 1, 2**16),
    "a region's scratch": lambda: of_one_region(2**17, 2**16),
    "a product's result": lambda: ops.linear(expanded(2**40, 2**20), expanded(2**20, 2**20), expanded(2**20)),
    "a product's operand": lambda: ops.linear(expanded(2**61, 2), drawn(3, 2).bfloat16(), drawn(3)),
    "maps": lambda: ops.mbconv(expanded(1, 1, 2**31 - 1, 2**31 - 1), MBCONV),
    "maps of no image": lambda: ops.mbconv(torch.zeros(0, 1, 2**31, 2**31 - 1), MBCONV),
    "a head's rows": lambda: ops.head([expanded(2**40, 4)], [drawn(3, 4)], [drawn(3)], drawn(2, 3), drawn(2), [2**40]),
}  # fmt: skip


@pytest.mark.needs_engine
@pytest.mark.parametrize("what", SIZES)
def test_sizes_that_no_memory_holds_are_refused_with_their_number(what, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "cpu")
    with pytest.raises((ValueError, MemoryError, RuntimeError), match=r"\d{4}|2\*\*|64 bits|64 GiB|[KMGTPE]iB"):
        SIZES[what]()


# ---- Tables that change after their check.

WRONG = {
    "an image": ("regions", 0, 1, 7), "a window": ("regions", 0, 4, 400), "rows": ("regions", 0, 8, 400),
    "the corner": ("regions", 0, 6, -(2**62)), "how many pieces": ("regions", 0, 13, 2**40),
    "the first piece": ("pieces", 0, 4, 50), "a piece's rows": ("pieces", 0, 2, 50),
    "a store's place": ("stores", 0, 6, 500), "a store's height": ("stores", 0, 2, 500),
    "the output": ("stores", 0, 4, 9), "the output's image": ("stores", 1, 5, -1), "an overlap": ("stores", 1, 5, 0),
}  # fmt: skip


def spoil(listed, name, past_torch):
    of, row, column, value = WRONG[name]
    if past_torch:
        getattr(listed, of).numpy()[row, column] = value
    else:
        getattr(listed, of).data[row, column] = value


def use_public(listed):
    regions(listed)


def use_out(listed):
    regions(listed, out=[outputs()])


def use_raw(listed):
    extents = [extent for shape in listed.outputs for extent in shape]
    RAW.block_regions([X], listed.regions, listed.pieces, listed.stores, extents, WEIGHT, BIAS, *FLAT, [], 1.0, torch.float32)


def use_prepared(listed):
    prepared = prepare(params_of(X, WEIGHT, BlockOptions(**OPTIONS)), WEIGHT, BIAS)
    prepared.run(Work([X], listed, [outputs(images) for images, *_ in listed.outputs]))


USES = (use_public, use_out, use_raw, use_prepared)


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", WRONG)
def test_tables_that_were_right_once_are_checked_again(name, use, backend):
    listed = table()
    use(listed)
    copied = copy.deepcopy(listed)
    for which, past_torch in ((listed, True), (copied, False)):
        spoil(which, name, past_torch)
        with pytest.raises(ValueError, match="regions: "):
            use(which)


@pytest.mark.parametrize("use", USES)
def test_fewer_outputs_than_tables_were_checked_for_are_refused(use, backend):
    listed = table()
    use(listed)
    for fewer in ((), ((1, 5, 5),), ((2, 5, 4),)):
        with pytest.raises(ValueError, match="regions: "):
            regions(replace(listed, outputs=fewer))
        if use is use_out:
            with pytest.raises(ValueError, match="out must have shapes"):
                regions(replace(listed, outputs=fewer), out=[outputs()])
            continue
        with pytest.raises(ValueError, match="regions: "):
            use(replace(listed, outputs=fewer))


# ---- Memory that operations write to.

OUT = {
    "a negated view": (lambda: torch._neg_view(outputs()), "must have its values in memory"),
    "a zero tensor": (
        lambda: torch._efficientzerotensor((2, 5, 5, 4)).permute(0, 3, 1, 2), "must have its values in memory|contiguous"
    ),
    "a leaf": (lambda: outputs().requires_grad_(), "must not require a gradient"),
    "a history": (lambda: outputs().requires_grad_() * 1, "must not require a gradient"),
    "repeated memory": (lambda: torch.zeros(1, 1, 1, 1).expand(2, 4, 5, 5), "contiguous in channels_last"),
    "another device": (lambda: outputs().to("meta"), "must be torch.float32 on cpu"),
}  # fmt: skip


@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("kind", OUT)
def test_what_cannot_be_written_to_is_refused(kind, grad, backend):
    make, message = OUT[kind]
    out = make()
    with torch.set_grad_enabled(grad), pytest.raises(ValueError, match=message):
        regions(table(), out=[out])


def test_what_is_written_to_shares_no_memory(backend):
    listed = whole(2, 9, 9, size=3, stride=1, padding=1, rounding="up", pool=None)
    buffer, weight = drawn(2, 9, 9, 8), drawn(4, 4, 3, 3)
    source, out = buffer[..., :4].permute(0, 3, 1, 2), torch.empty(2, 9, 9, 4).permute(0, 3, 1, 2)
    inside = buffer.view(-1)[100 : 100 + out.numel()].view(2, 9, 9, 4).permute(0, 3, 1, 2)
    with pytest.raises(ValueError, match=r"out\[0\] is written to and must share no memory with sources\[0\]"):
        ops.block_regions([source], listed, weight, padding=1, out=[inside])
    twice = RegionList(listed.regions, listed.pieces, listed.stores, listed.outputs * 2)
    with pytest.raises(ValueError, match=r"out\[1\] is written to and must share no memory with out\[0\]"):
        ops.block_regions([source], twice, weight, padding=1, out=[out, out])
    expected = ops.block_regions([source], listed, weight, padding=1)[0]
    first = whole(1, 9, 9, size=3, stride=1, padding=1, rounding="up", pool=None)
    strided = torch.stack([source[0].permute(1, 2, 0), torch.zeros(9, 9, 4), source[1].permute(1, 2, 0)])
    ends, middle = strided[::2].permute(0, 3, 1, 2), strided[1:2].permute(0, 3, 1, 2)
    ops.block_regions([ends], first, weight, padding=1, out=[middle])
    assert torch.equal(middle, expected[:1])  # in the gap between the source's images


def test_what_autograd_kept_is_not_changed_behind_its_back(backend):
    out, factor = outputs(), torch.ones(4, 1, 1, requires_grad=True)
    kept = (out * factor).sum()
    with torch.no_grad():
        regions(table(), out=[out])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.backward()
    parameter, increment = torch.ones(3), torch.zeros(3)
    kept = (parameter * torch.ones(3, requires_grad=True)).sum() + (increment * torch.ones(3, requires_grad=True)).sum()
    ops.update([parameter], [torch.ones(3)], [increment], rates=[1.0], momenta=[0.0], decays=[0.0])
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        kept.backward()


def test_parameters_that_share_memory_are_not_updated(backend):
    memory = drawn(6)
    one = torch.ones(3)
    for given in (
        ([memory[:3], memory[2:5]], [one, one], [one * 0, one * 0]), ([memory[:3]], [memory[1:4]], [one]),
        ([memory[:3]], [one], [memory[:3]]), ([memory[:3]], [memory[:3]], [one]),
    ):  # fmt: skip
        before = memory.clone()
        rates = [1.0] * len(given[0])
        with pytest.raises(ValueError, match="is written to and must share no memory with"):
            ops.update(*given, rates=rates, momenta=rates, decays=rates)
        assert torch.equal(memory, before)
    ops.update([memory[:3], memory[3:]], [one, one], [one * 0, one * 0], rates=[1.0] * 2, momenta=[1.0] * 2, decays=[0.0] * 2)


# ---- Operators called directly.


def negated(tensor):
    return torch._neg_view(-tensor)


def zero(tensor):
    return torch._efficientzerotensor(tensor.shape)


SAME = {"negated": negated, "of no memory": zero, "in one's way": lambda tensor: tensor.flip(0).flip(0)}


@pytest.mark.parametrize("kind", SAME)
def test_operands_whose_values_are_not_in_memory_give_the_same_bits(kind, backend):
    """Every operator, one operand after another."""
    result, values, hits = RAW.block_training(X, WEIGHT, BIAS, *FLAT, [], 1.0)
    calls = {
        RAW.block: ([X, WEIGHT, BIAS], (*FLAT, [], 1.0)),
        RAW.block_backward: ([result, X, WEIGHT, BIAS, values, hits], (*FLAT, [True] * 3, [], 1.0)),
        RAW.linear: ([X[0, 0], drawn(4, 9), BIAS], (True,)),
        RAW.mbconv: ([X, drawn(5, 3), drawn(5), drawn(5, 3, 3), drawn(5), drawn(4, 5), BIAS], (1, False, "ieee")),
        ops.max_pool: ([X], (2, 2)),
        ops.response_norm: ([X], (CrossMapNorm(3),)),
    }  # fmt: skip
    for operator, (operands, rest) in calls.items():
        for i, operand in enumerate(operands):
            if operand.dtype == torch.int16 or (operator is RAW.mbconv and i == 0):
                continue
            given = SAME[kind](operand)
            expected = operator(*operands[:i], torch.clone(given), *operands[i + 1 :], *rest)
            made = operator(*operands[:i], given, *operands[i + 1 :], *rest)
            for one, other in zip(
                *((each,) if isinstance(each, torch.Tensor) else each for each in (made, expected)), strict=True
            ):
                assert torch.equal(one, other), (operator, i)


def _changed(operands):
    """Each operand in turn made invalid: shorter, of extent 1, of another dtype or another number of axes."""
    for i, operand in enumerate(operands):
        wrong = [operand.double(), operand[None], operand.reshape(-1), operand.to(torch.complex64)]
        wrong += [operand.narrow(axis, 0, operand.shape[axis] - 1) for axis in range(operand.ndim) if operand.shape[axis] > 1]
        wrong += [operand.narrow(axis, 0, 1) for axis in range(operand.ndim) if operand.shape[axis] > 1]
        for given in wrong:
            if given.shape != operand.shape or given.dtype != operand.dtype:
                yield i, given


# Operators whose first operand may be smaller.
FREE = {("block", 0), ("block_training", 0), ("linear", 0), ("mbconv", 0), ("block_regions", 0)}


def _operators():
    result, values, hits = RAW.block_training(X, WEIGHT, BIAS, *FLAT, [], 1.0)
    listed = table()
    yield "block", RAW.block, [X, WEIGHT, BIAS], (*FLAT, [], 1.0)
    yield "block_training", RAW.block_training, [X, WEIGHT, BIAS], (*FLAT, [], 1.0)
    yield "block_backward", RAW.block_backward, [result, X, WEIGHT, BIAS, values, hits], (*FLAT, [True] * 3, [], 1.0)
    yield "linear", RAW.linear, [X[0, 0], drawn(4, 9), BIAS], (True,)
    layers = [drawn(5, 3), drawn(5), drawn(5, 3, 3), drawn(5), drawn(4, 5), BIAS]
    yield "mbconv", RAW.mbconv, [X, *layers], (1, False, "ieee")

    def tables(*operands):
        return RAW.block_regions([operands[0]], *operands[1:4], [2, 5, 5], *operands[4:], *FLAT, [], 1.0, torch.float32)

    yield "block_regions", tables, [X, listed.regions, listed.pieces, listed.stores, WEIGHT, BIAS], ()

    def update(*operands):
        return RAW.update(*([operand] for operand in operands), [1.0], [0.5], [0.1])

    yield "update", update, [drawn(3, 4), drawn(3, 4, seed=1), drawn(3, 4, seed=2)], ()

    def head(*operands):
        return RAW.head([operands[0]], [operands[1]], [operands[2]], *operands[3:5], [2, 2], [operands[5]])

    yield "head", head, [drawn(4, 5), drawn(3, 5), drawn(3), drawn(2, 3), drawn(2), torch.tensor([0, 1, 3, 2])], ()


def test_operators_by_themselves_look_at_what_they_are_given(backend):
    refused = 0
    for name, operator, operands, rest in _operators():
        operator(*(operand.clone() for operand in operands), *rest)
        for i, wrong in _changed(operands):
            given = [operand.clone() for operand in operands]
            given[i] = wrong
            try:
                operator(*given, *rest)
            except (*REFUSALS, BackendError):
                refused += 1
                continue
            right = wrong.dtype == operands[i].dtype and wrong.ndim == operands[i].ndim and (name, i) in FREE
            smaller_table = name == "block_regions" and i in (1, 2, 3) and wrong.dtype == torch.int64
            rows = (
                name == "head" and i == 0 and wrong.shape[1:] == operands[0].shape[1:]
            )  # views of rows that do not exist get NaN
            assert right or smaller_table or rows, (name, i, wrong.dtype, wrong.shape)
    assert refused > 100


FIELDS = ("stride", "padding", "groups", "rounding", "pool", "norm", "values", "order", "ties", "precision")


def flat(**changed):
    return tuple((dict(zip(FIELDS, FLAT, strict=True)) | changed).values())


@pytest.mark.parametrize(
    "changed",
    [
        {"stride": 0}, {"stride": 9}, {"padding": -1}, {"padding": 7}, {"groups": 0}, {"groups": 3}, {"rounding": "x"},
        {"pool": [2]}, {"pool": [2, 2, 2]}, {"pool": [0, 1]}, {"norm": "x"}, {"norm": ""}, {"values": []}, {"values": [3.0]},
        {"values": [torch.nan, 1.0, 1.0, 1.0]}, {"values": [torch.inf, 1.0, 1.0, 1.0]}, {"order": "x"}, {"ties": "x"},
        {"precision": "x"},
    ],
)  # fmt: skip
def test_options_of_an_operator_are_checked(changed, backend):
    with pytest.raises(ValueError, match="(?i)" + next(iter(changed)).replace("values", "norm")):
        RAW.block(X, WEIGHT, BIAS, *flat(**changed), [], 1.0)


def test_other_arguments_of_operators_are_checked(backend):
    listed, bytes_ = table(), torch.zeros(2, 3, 9, 9, dtype=torch.uint8)
    result, values, hits = RAW.block_training(X, WEIGHT, BIAS, *FLAT, [], 1.0)
    tables = listed.regions, listed.pieces, listed.stores
    layers = [drawn(3, 3), drawn(3), drawn(3, 3, 3), drawn(3), drawn(4, 3), BIAS]
    one = [torch.ones(3)]

    def regions_of(sources=(X,), extents=(2, 5, 5), mean=(), dtype=torch.float32):
        RAW.block_regions(list(sources), *tables, list(extents), WEIGHT, BIAS, *FLAT, list(mean), 1.0, dtype)

    def head(counts=(4,), rows=None, **changed):
        given = {"features": [drawn(4, 5)], "weights": [drawn(3, 5)], "biases": [drawn(3)]} | changed
        RAW.head(*given.values(), drawn(2, 3), drawn(2), list(counts), [rows])

    wrong = [
        lambda: RAW.block(bytes_, WEIGHT, BIAS, *FLAT, [1.0], 1.0),
        lambda: RAW.block(bytes_, WEIGHT, BIAS, *FLAT, [1.0] * 4, 1.0),
        lambda: RAW.block_backward(result, X, WEIGHT, BIAS, values, hits, *FLAT, [True], [], 1.0),
        lambda: RAW.block_backward(result, X, WEIGHT, BIAS, values, hits, *FLAT, [True] * 7, [], 1.0),
        lambda: RAW.block_backward(result, X, WEIGHT, BIAS, values[:0], hits, *FLAT, [True] * 3, [], 1.0),
        lambda: regions_of(sources=()),
        lambda: regions_of(extents=(2, 5)),
        lambda: regions_of(extents=(2, 5, -5)),
        lambda: regions_of(mean=(1.0,)),
        lambda: regions_of(dtype=torch.int32),
        lambda: regions_of(dtype=torch.complex64),
        lambda: RAW.mbconv(X, layers[0], None, *layers[2:], 1, False, "ieee"),
        lambda: RAW.mbconv(X, *layers, 0, False, "ieee"),
        lambda: RAW.mbconv(X, *layers, -1, False, "ieee"),
        lambda: RAW.mbconv(X, *layers, 9, False, "ieee"),
        lambda: RAW.mbconv(X, *layers, 1, True, "ieee"),
        lambda: RAW.mbconv(X, *layers, 1, False, "tf32"),
        lambda: RAW.update(one, one, one, [1.0], [], [1.0]),
        lambda: RAW.update([torch.ones(3)], one, [torch.zeros(3)], [torch.nan], [1.0], [1.0]),
        lambda: RAW.update([torch.ones(3)], one, [torch.zeros(3)], [1.0], [torch.inf], [1.0]),
        lambda: head(counts=(-1, 5)),
        lambda: head(counts=(3,)),
        lambda: head(counts=()),
        lambda: head(rows=torch.zeros(4)),
        lambda: head(features=[], weights=[], biases=[]),
    ]
    for call in wrong:
        with pytest.raises(REFUSALS):
            call()


def test_operands_on_several_devices_are_refused():
    """On the meta device only shapes are computed, which is refused when only some operands are there."""
    for operator, operands, rest in (
        (RAW.block, [X, WEIGHT, BIAS], (*FLAT, [], 1.0)), (RAW.linear, [X[0, 0], drawn(4, 9), BIAS], (True,)),
    ):  # fmt: skip
        for i, operand in enumerate(operands):
            with pytest.raises(ValueError, match="device"):
                operator(*operands[:i], operand.to("meta"), *operands[i + 1 :], *rest)
        assert operator(*(operand.to("meta") for operand in operands), *rest).is_meta


def test_stores_that_share_a_place_are_refused(backend):
    """Threads would race for the place. The same place of another image or output, or a place beside it, is allowed."""
    windows = torch.zeros(40, 3, dtype=torch.int64)
    right = of_windows(windows, 9, 9, size=3, stride=1, padding=1, rounding="up", pool=Pool(2, 2))
    regions(right)
    for one, other in ((0, 1), (3, 39), (20, 21)):
        listed = copy.deepcopy(right)
        listed.stores[other, 5] = one
        message = rf"store {other}: the rectangle must share no place of its output with that of store {one}"
        with pytest.raises(ValueError, match=message):
            regions(listed)


def test_many_stores_of_one_image_are_judged_quickly():
    """A hundred thousand stores of one place each, beside and below each other."""
    side = 300
    stores = [Store(0, 0, 1, 1, 0, 0, row, column) for row in range(side) for column in range(side)]
    listed = RegionList.of([Region(0, 0, 0, 0, 1, 1, 0, 0, 1, 1, 0, 0, (Piece(0, 0, 1, 1, tuple(stores)),))], [(1, side, side)])
    made = ops.block_regions([torch.ones(1, 1, 1, 1)], listed, torch.full((1, 1, 1, 1), 3.0))[0]
    assert (made == 3).all()
    listed.stores[-1, 7] -= 1
    with pytest.raises(ValueError, match=f"store {side**2 - 1}: the rectangle must share no place"):
        ops.block_regions([torch.ones(1, 1, 1, 1)], listed, torch.full((1, 1, 1, 1), 3.0))
