"""The common tester of the operations: a check for each kind of fault, the same for all operations and backends.

An operation's tests write down an `Operation` (its operands, the right values, how each backend computes them) and problems;
each test then is a check and the problems it is made on:

    @pytest.mark.parametrize("way", WAYS, ids=str)
    @pytest.mark.parametrize("params", PROBLEMS, ids=str)
    def test_values(params, way):
        tester.values(LINEAR, way, params)

Results are computed into memory full of NaN, between margins that must stay as they are, whatever is checked.

- On every backend: `values`, `memory`, `bits`, `not_a_number`.
- Through the public function: `layouts`, `gradients`, `registered`, `compiled`, `keeps_its_weights`.
- What is refused: `refused` by a function, `cannot_run` by a backend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, is_dataclass, replace
from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor

from dcnn_fast import engine
from dcnn_fast.ops.backend import BACKEND_VARIABLE
from tests.ops import guarded
from tests.ops.on_cpu import kernels_on_cpu

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


@dataclass(frozen=True)
class Way:
    """A way to compute a result. isa: the engine's instruction set. capability: the GPU's for which Triton compiles."""

    backend: str
    isa: str = ""
    capability: int = 80

    @contextmanager
    def running(self) -> Iterator[Any]:
        """Context in which the public functions take this way, or refuse; yields Triton's launches."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(BACKEND_VARIABLE, self.backend)
            if self.isa:
                patch.setenv("DCNN_FAST_CPU_ISA", self.isa)
            if self.backend != "triton":
                yield []
                return
            torch.set_num_threads(1)
            with kernels_on_cpu(self.capability) as launches:
                yield launches

    def __str__(self) -> str:
        return self.isa or (self.backend if self.capability == 80 else f"{self.backend} sm_{self.capability}")


REFERENCE, TRITON = Way("reference"), Way("triton")
ISAS = engine.isas()  # instruction sets of this processor
ENGINE = [Way("cpu", isa) for isa in (*ISAS, *engine.emulated_isas())]
WAYS = [REFERENCE, *ENGINE, TRITON]


def _relative(params: Any, operands: Any, expected: Sequence[Tensor]) -> Sequence[float | Tensor]:
    return [params.tolerance() * float(each.abs().max()) if each.numel() else 0.0 for each in expected]


@dataclass(frozen=True)
class Operation:
    """An operation's description for the checks.

    operands: seeded operands of a problem; tensors, or tuples and records of them. The first is the input.
    results: the shapes of a problem's results, and their dtype.
    compute: writes the results of (way, params, operands, results, threads).
    statement: the right results of (params, operands) in float64, by other code than the operation's.
    allowed: how far from (params, operands, statement's results) a value may be, for each result.
    items: the field of the problem that counts what the input's first axis holds, each with results of its own.
    """

    operands: Callable[[Any], Sequence[Any]]
    results: Callable[[Any], tuple[Sequence[Sequence[int]], torch.dtype]]
    compute: Callable[[Way, Any, Sequence[Any], Sequence[Tensor], int], None]
    statement: Callable[[Any, Sequence[Any]], Sequence[Tensor]]
    allowed: Callable[[Any, Any, Sequence[Tensor]], Sequence[float | Tensor]] = _relative
    items: str = "images"

    def run(self, way: Way, params: Any, operands: Sequence[Any], threads: int = 2, offset: int = 0) -> list[Tensor]:
        """Compute the results and check the memory around them. offset: values past an aligned address."""
        shapes, dtype = self.results(params)
        made = [guarded.output(shape, dtype, offset) for shape in shapes]
        with way.running():
            self.compute(way, params, operands, [result for result, _ in made], threads)
        guarded.assert_untouched(*(buffer for _, buffer in made))
        return [result for result, _ in made]


# --- on every backend -------------------------------------------------------------------------------------------------------


def values(of: Operation, way: Way, params: Any) -> list[Tensor]:
    """The results are within the allowed errors of the statement's; returns them."""
    operands, expected, allowed = _stated(of, params)
    results = of.run(way, params, operands)
    for found, right, most in zip(results, expected, allowed, strict=True):
        assert_within(found, right, most)
    return results


def memory(of: Operation, way: Way, params: Any, offset: int = 36) -> None:
    """Only the operands are read: among NaN they give the same bits. offset: values past an aligned address."""
    operands = of.operands(params)
    expected = of.run(way, params, operands, 1)
    among = mapped(lambda tensor: guarded.between(tensor, offset)[0], operands)
    assert_same(of.run(way, params, among, 1, offset), expected)


def bits(of: Operation, way: Way, params: Any, threads: Sequence[int] = (2, 3, 8), alone: Sequence[int] | None = None) -> None:
    """An item's bits are the same alone, in any order of items and on any threads. alone: the items computed alone."""
    threads = () if way.backend == "triton" else threads
    x, *others = of.operands(params)
    together = of.run(way, params, (x, *others), 1)
    for count in threads:
        torch.set_num_threads(count)
        assert_same(of.run(way, params, (x, *others), count), together)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(0))
    assert_same(of.run(way, params, (x[order], *others)), [result[order] for result in together])
    one = replace(params, **{of.items: 1})
    for item in range(len(x)) if alone is None else alone:
        for count in (1, *threads[:1]):
            assert_same(
                of.run(way, one, (x[item : item + 1], *others), count), [result[item : item + 1] for result in together]
            )


def not_a_number(
    of: Operation, way: Way, params: Any, at: tuple[int, ...], spoilt: Sequence[Any] = (torch.nan, torch.inf, -torch.inf)
) -> None:
    """A value that is no number, put in the input at `at`, reaches exactly the results that it reaches in the statement.

    All others keep their bits where the statement does not change, and are within the allowed errors.
    """
    operands = x, *others = of.operands(params)
    clean, before = of.run(way, params, operands), of.statement(params, operands)
    for value in spoilt:
        x = x.clone()
        x[at] = value
        expected = of.statement(params, (x, *others))
        assert any((right != old).any() for right, old in zip(expected, before, strict=True)), (
            "reaches nothing: this shows nothing"
        )
        allowed = of.allowed(params, operands, [right[right.isfinite()] for right in expected])
        found = of.run(way, params, (x, *others))
        for mine, right, old, kept, most in zip(found, expected, before, clean, allowed, strict=True):
            assert torch.equal(mine.isnan(), right.isnan())
            assert torch.equal(mine.isinf(), right.isinf())
            assert torch.equal(mine[right == old], kept[right == old])
            assert_within(mine[right.isfinite()], right[right.isfinite()], most)


# --- through the public function --------------------------------------------------------------------------------------------


def layouts(call: Callable[[Tensor], Tensor], x: Tensor, tolerance: float = 0.0) -> None:
    """The input may have any memory layout: any order of axes, with gaps of NaN along every axis."""
    expected = call(x.contiguous())
    apart = torch.full((*(side + 1 for side in x.shape[:-1]), 2 * x.shape[-1]), guarded.fill(x.dtype), dtype=x.dtype)
    gaps = apart[(*(slice(1, None) for _ in x.shape[:-1]), slice(None, None, 2))]
    turned = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    last = x.movedim(1, -1).contiguous().movedim(-1, 1)
    for laid in (gaps.copy_(x), turned, last):
        assert_within(call(laid), expected, tolerance * float(expected.abs().max()))


def gradients(call: Callable[..., Any], *operands: Tensor) -> None:
    """The gradients of all operands, in float64, are those of finite differences."""
    torch.set_num_threads(1)  # thousands of operations too small for threads
    inputs = [tensor.detach().requires_grad_() for tensor in operands]
    assert torch.autograd.gradcheck(call, inputs, rtol=1e-5, atol=1e-6)


def registered(operator: Any, *arguments: Any) -> None:
    """The operator's registration keeps torch's rules: schema, fake results, autograd, AOT."""
    torch.library.opcheck(operator, arguments)


def compiled(call: Callable[..., Any], *operands: Tensor) -> None:
    """torch.compile takes the call whole, and it gives the same bits."""
    expected, found = call(*operands), torch.compile(call, fullgraph=True, backend="aot_eager")(*operands)
    assert_same(_listed(found), _listed(expected))


def keeps_its_weights(prepare: Callable[[Any], Callable[[Tensor], Tensor]], weights: Any, x: Tensor) -> None:
    """A prepared operation has copies of its weights: the caller's may all become zeros."""
    run = prepare(weights)
    before = run(x)
    mapped(Tensor.zero_, weights)
    assert torch.equal(run(x), before)
    assert not torch.equal(prepare(weights)(x), before), "weights of zeros give the same: this shows nothing"


# --- refusals ---------------------------------------------------------------------------------------------------------------


def refused(
    call: Callable[..., Any], given: dict[str, Any], change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    """The call accepts the given arguments and refuses them with the change. Changes may be functions of the arguments."""
    call(**given)
    changed = {name: new(given[name]) if callable(new) else new for name, new in change.items()}
    with pytest.raises(error, match=sentence):
        call(**{**given, **changed})


def cannot_run(backend: Any, good: Any, change: dict[str, Any], sentence: str, device: torch.device = CUDA) -> None:
    """The backend runs the problem, and refuses it with the change in a sentence that holds `sentence`."""
    assert backend.can_run(good, device) is None
    refusal = backend.can_run(replace(good, **change), device)
    assert refusal is not None and sentence in refusal, refusal


# --- tools ------------------------------------------------------------------------------------------------------------------


def drawn(seed: int, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Normal values determined by a seed and a shape."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def tied(seed: int, *shape: int, least: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Integers from `least` to 2, many of them equal, whose sums are exact in float32."""
    return torch.randint(least, 3, shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def assert_within(found: Tensor, expected: Tensor, most: float | Tensor) -> None:
    """Every value is within `most` of the right one; NaN is within nothing."""
    assert found.shape == expected.shape
    error = (found.double() - expected.double()).abs()
    where = ~((error <= most) | (found.double() == expected.double()))
    worst = error.nan_to_num(torch.inf).max() if error.numel() else 0.0
    assert not where.any(), f"{int(where.sum())} of {error.numel()} values are wrong, by up to {worst:.3g}"


def assert_same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> None:
    """The same dtypes, shapes and bits."""
    for mine, theirs in zip(found, expected, strict=True):
        assert mine.dtype == theirs.dtype
        assert torch.equal(mine, theirs)


def mapped(change: Callable[[Tensor], Any], value: Any) -> Any:
    """The value with `change` applied to every tensor in it, also in tuples, lists and records."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(change, each) for each in value)
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{field.name: mapped(change, getattr(value, field.name)) for field in fields(value)})
    return value


@cache
def _stated(of: Operation, params: Any) -> tuple[Sequence[Any], Sequence[Tensor], Sequence[float | Tensor]]:
    """Operands, the statement's results and the allowed errors: the same for all ways."""
    operands = of.operands(params)
    expected = of.statement(params, operands)
    return operands, expected, of.allowed(params, operands, expected)


def _listed(value: Any) -> list[Tensor]:
    return [value] if isinstance(value, Tensor) else list(value)
