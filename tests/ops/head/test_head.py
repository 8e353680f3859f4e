"""The head: against numpy, on the reference, the C++ engine and, in the PTX simulator, Triton."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from dcnn_fast import engine, ops
from dcnn_fast.networks import Network
from dcnn_fast.ops.backend import BackendError, choose
from dcnn_fast.ops.head import BACKENDS, HeadParams, triton
from dcnn_fast.ops.head.backend import Operands, Results
from dcnn_fast.ops.head.params import problem_of
from dcnn_fast.ops.launch import launch
from dcnn_fast.runtime import executor_of, head_rows
from dcnn_fast.scoring.prepare import prepare
from dcnn_fast.scoring.score import summarise
from tests import small
from tests.ops import guarded, statements, tester
from tests.ops.on_cpu import kernels_on_cpu
from tests.ops.tester import ISAS, REFERENCE, TRITON, WAYS, Way

pytestmark = pytest.mark.gpu

ON_CPU = ["cpu", "reference"] if engine.isas() else ["reference"]
BACKEND = pytest.mark.parametrize("backend", [*ON_CPU, "triton"])


@dataclass(frozen=True)
class Problem:
    """rows, inputs, outputs: one for each column. indexed: the columns whose samples share rows."""

    rows: tuple[int, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    labels: int
    counts: tuple[int, ...]
    indexed: tuple[int, ...] = ()
    weight: torch.dtype = torch.float32
    feature: torch.dtype = torch.float32
    out_dtype: torch.dtype = torch.float32

    def operands(self, seed=0):
        """features, weights, biases, label_weight, label_bias, counts, window_of."""
        generator = torch.Generator().manual_seed(seed)
        wide = torch.promote_types(self.weight, torch.float32)

        def drawn(*shape, dtype=wide):
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)

        columns = list(zip(self.rows, self.inputs, self.outputs, strict=True))
        features = [drawn(r, i, dtype=self.feature) for r, i, _ in columns]
        weights = [(drawn(o, i) * i**-0.5).to(self.weight) for _, i, o in columns]
        joined = sum(self.outputs)
        samples = [torch.randint(rows, (sum(self.counts),), generator=generator) for rows in self.rows]
        window_of = [each if i in self.indexed else None for i, each in enumerate(samples)]
        biases = [drawn(o) for o in self.outputs]
        label_weight = drawn(self.labels, joined) * joined**-0.5
        return features, weights, biases, label_weight, drawn(self.labels), list(self.counts), window_of

    @property
    def params(self):
        """The operation's description of the problem."""
        wide = torch.promote_types(self.weight, torch.float32)
        sizes = self.rows, self.inputs, self.outputs, sum(self.counts), len(self.counts), self.labels
        return HeadParams(*sizes, self.weight, wide, None if self.out_dtype == wide else self.out_dtype)

    @property
    def shapes(self):
        """The shapes of the samples' probabilities and of each image's means and deviations."""
        return [(count, self.labels) for count in (sum(self.counts), len(self.counts), len(self.counts))]

    def __str__(self):
        return f"{self.params}-{self.feature}".replace("torch.", "")


PROBLEMS = [
    Problem((1,), (1,), (1,), 1, (1,)),
    Problem((7,), (63,), (7,), 2, (7,)),
    Problem((63, 5), (33, 100), (63, 33), 2, (63,), (1,)),
    Problem((3, 70), (7, 64), (32, 40), 14, (1, 65, 4), (0,)),
    Problem((9, 4, 1), (65, 3, 16), (1, 17, 5), 63, (2, 1, 20), (0, 1, 2)),
    Problem((7, 40), (63, 64), (33, 16), 2, (7, 33), (0,), torch.float16),
    Problem((40, 7), (72, 40), (20, 35), 2, (40,), (1,), torch.float16, torch.float16),
    Problem((7, 40), (63, 64), (33, 16), 2, (7, 33), (0,), torch.bfloat16),
    Problem((40, 7), (72, 40), (20, 35), 3, (40,), (1,), torch.bfloat16, torch.bfloat16),
]
# Triton uses no tensor cores on sm_75, and packed arithmetic on sm_120.
COMPILED = [(problem, 80) for problem in PROBLEMS] + [(PROBLEMS[i], capability) for i in (3, 6) for capability in (75, 90, 120)]
DOUBLE = Problem((5, 9), (20, 63), (7, 16), 3, (1, 8), (0,), torch.float64, torch.float64, torch.float64)
PAPER = Problem((5, 5), (1000, 1000), (64, 64), 2, (5,))


def _compute(way, problem, operands, results, threads):
    """Compute the results: Triton's launches write to them, the other backends return new ones."""
    if way.backend == "triton":
        launches = triton.launches_of(problem.params, Operands(*operands), Results(*results))
        assert len(launches) == 2
        for what in launches:
            launch(what)
        return
    with engine.use_threads(threads):
        for result, made in zip(results, _run(operands, problem.out_dtype), strict=True):
            assert made.dtype == problem.out_dtype
            result.copy_(made)


def _run(operands, out_dtype=None):
    *tensors, window_of = operands
    return ops.head(*tensors, window_of=window_of, out_dtype=out_dtype)


def _wide(operands):
    """The rounded features, weights and biases, the labels' weight and bias, all in float64, and the rows."""
    features, weights, biases, label_weight, label_bias, _, window_of = operands
    rounded = [x.to(w.dtype).double().numpy() for x, w in zip(features, weights, strict=True)]
    wide = [[tensor.double().numpy() for tensor in group] for group in (weights, biases)]
    rows = [None if each is None else each.numpy() for each in window_of]
    return rounded, *wide, (label_weight.double().numpy(), label_bias.double().numpy()), rows


def _stated(problem, operands):
    features, weights, biases, label, rows = _wide(operands)
    return [torch.from_numpy(each) for each in statements.head(features, weights, biases, *label, problem.counts, rows)]


def _allowed(problem, operands, expected):
    """Each result's allowed distance from the statement's: errors of two layers carried through the softmax."""
    features, weights, biases, label, rows_of = _wide(operands)
    probs = expected[0].numpy()
    hidden_error, logit_error = problem.params.tolerances()
    eps = torch.finfo(problem.params.dtype).eps
    joined, errors = [], []
    for x, weight, bias, rows in zip(features, weights, biases, rows_of, strict=True):
        rows = slice(None) if rows is None else rows
        joined.append(np.maximum(x @ weight.T + bias, 0)[rows])
        errors.append(hidden_error * (np.abs(x) @ np.abs(weight).T + np.abs(bias))[rows])
    joined, errors = np.concatenate(joined, 1), np.concatenate(errors, 1)
    magnitudes = np.abs(label[0]).T
    logits = errors @ magnitudes + logit_error * (joined @ magnitudes + np.abs(label[1]))
    # A probability's relative error is at most its logit's error plus the largest error of the others; the exponential of
    # a difference d, whose rounding counts d times, is within 8 units in the last place.
    depth = np.log(probs.max(1, keepdims=True)) - np.log(np.maximum(probs, 1e-300))
    allowed = torch.from_numpy(probs * (2 * logits.max(1, keepdims=True) + (8 + 2 * depth) * eps) + 1e-30)
    of_images = torch.stack([each.amax(0) + 8 * eps for each in allowed.split(list(problem.counts))])
    return allowed, of_images, of_images


HEAD = tester.Operation(
    operands=lambda problem: problem.operands(),
    results=lambda problem: (problem.shapes, problem.out_dtype),
    compute=_compute,
    statement=_stated,
    allowed=_allowed,
)
WIDE = [replace(problem, out_dtype=torch.float64) for problem in PROBLEMS]


@pytest.mark.parametrize("problem", [*PROBLEMS, *WIDE, DOUBLE], ids=str)
def test_the_reference_gives_the_statements_values(problem):
    tester.values(HEAD, REFERENCE, problem)


@pytest.mark.needs_engine
@pytest.mark.parametrize("problem", [p for p in (*PROBLEMS, *WIDE, PAPER) if p.weight != torch.float16], ids=str)
@pytest.mark.parametrize("way", [Way("cpu", isa) for isa in ISAS], ids=str)
def test_the_engine_gives_the_statements_values(way, problem):
    tester.values(HEAD, way, problem)


@pytest.mark.parametrize(("problem", "capability"), [*COMPILED, (PAPER, 80)], ids=str)
def test_triton_gives_the_statements_values(problem, capability):
    tester.values(HEAD, Way("triton", capability=capability), problem)


AMONG_NAN = [
    (way, problem)
    for way in WAYS
    for problem in (PROBLEMS[1], PROBLEMS[3], PROBLEMS[5])
    if way.backend != "cpu" or problem.weight != torch.float16
]


@pytest.mark.parametrize(("way", "problem"), AMONG_NAN, ids=str)
def test_nothing_beside_the_operands_is_read_wherever_they_lie(way, problem):
    """Operands lie among NaN, at addresses that are not multiples of 16."""
    tester.memory(HEAD, way, problem, offset=1)


def test_triton_reads_16_bytes_at_once_where_all_rows_allow_it_alone():
    operands = PROBLEMS[3].operands()
    results = Results(*(torch.empty(shape) for shape in PROBLEMS[3].shapes))

    def aligned(operands):
        with kernels_on_cpu(80):
            launches = triton.launches_of(PROBLEMS[3].params, Operands(*operands), results)
        return [what.constants["ALIGNED"] for what in launches if "ALIGNED" in what.constants]

    moved = tester.mapped(lambda tensor: guarded.between(tensor, 1)[0], operands)
    assert aligned(moved) and not any(aligned(moved))


def test_the_public_function_is_two_launches_on_triton():
    for problem in (PROBLEMS[3], PAPER):
        with kernels_on_cpu(80) as done:
            found = _run(problem.operands())
        assert len(done) == 2
        tester.assert_same(found, HEAD.run(TRITON, problem, problem.operands()))
    with kernels_on_cpu(80):
        _check(DOUBLE, _run(DOUBLE.operands()))


def _check(problem, results):
    """Assert that the public function's results are the statement's."""
    operands = problem.operands()
    expected = _stated(problem, operands)
    for found, right, most in zip(results, expected, _allowed(problem, operands, expected), strict=True):
        tester.assert_within(found, right, most)


@pytest.mark.parametrize("backend", ON_CPU)
def test_results_in_float64_are_those_that_float32_rounds(backend):
    """Probabilities sum to 1 in float64's precision: only the logits are float32."""
    with Way(backend).running():
        exact, rounded = (_run(PROBLEMS[3].operands(), dtype) for dtype in (torch.float64, torch.float32))
    assert all(torch.equal(wide.float(), narrow) for wide, narrow in zip(exact, rounded, strict=True))
    assert ((exact[0].sum(dim=1) - 1).abs() < 1e-15).all()
    assert not torch.equal(exact[0], rounded[0].double())


@pytest.mark.parametrize("backend", ON_CPU)
def test_bits_do_not_depend_on_threads(backend):
    operands = Problem((70, 70), (1000, 300), (256, 64), 2, (50, 20)).operands()
    with Way(backend).running():
        with engine.use_threads(1):
            expected = _run(operands, torch.float64)
        for threads in (2, 3, 8):
            with engine.use_threads(threads):
                assert all(map(torch.equal, _run(operands, torch.float64), expected))


@BACKEND
@pytest.mark.parametrize("half", [False, True])
def test_an_images_bits_do_not_depend_on_its_neighbours_or_its_place(backend, half):
    weight = (torch.bfloat16 if backend == "cpu" else torch.float16) if half else torch.float32
    counts = (3, 40, 1, 7)
    problem = Problem((51, 51), (70, 33), (20, 40), 2, counts, weight=weight)
    *operands, _, _ = problem.operands()
    features, others = operands[0], operands[1:]
    order = [2, 0, 3, 1]
    samples = torch.split(torch.arange(51), counts)
    with Way(backend).running():
        together = ops.head(features, *others, counts)
        taken = torch.cat([samples[i] for i in order])
        moved = ops.head([x[taken] for x in features], *others, [counts[i] for i in order])
        backwards = torch.arange(50, -1, -1)
        indexed = ops.head([x[backwards] for x in features], *others, counts, window_of=[backwards, backwards])
        alone = ops.head([x[43:44] for x in features], *others, [1])
    assert all(map(torch.equal, together, indexed))
    assert torch.equal(moved[0], together[0][taken])
    assert torch.equal(moved[1], together[1][order])
    assert torch.equal(moved[2], together[2][order])
    assert torch.equal(alone[0][0], together[0][43])
    assert torch.equal(alone[1][0], together[1][2])
    assert torch.equal(alone[1], alone[0])
    assert (alone[2] == 0).all()


@BACKEND
def test_nan_and_rows_that_do_not_exist_reach_their_views_and_no_others(backend):
    problem = Problem((6, 5), (9, 7), (5, 3), 2, (4, 3, 2), (0, 1))
    features, weights, biases, *label, counts, _ = problem.operands()
    rows = torch.tensor([0, 1, 2, 3, 0, 1, 2, 4, 1]), torch.tensor([0, 1, 2, 3, 0, 1, 2, 3, 4])
    with Way(backend).running():
        right = ops.head(features, weights, biases, *label, counts, window_of=rows)
        features[0][4, 2] = float("nan")
        results = [ops.head(features, weights, biases, *label, counts, window_of=rows)]
        for wrong in (-1, 5, 2**40):
            moved = rows[1].clone()
            moved[7] = wrong
            features[0][4, 2] = 0
            results.append(ops.head(features, weights, biases, *label, counts, window_of=(rows[0], moved)))
    for probs, mean, std in results:
        assert probs[7].isnan().all()
        assert torch.equal(probs[:7], right[0][:7]) and torch.equal(probs[8], right[0][8])
        assert torch.equal(mean[:2], right[1][:2]) and torch.equal(std[:2], right[2][:2])
        assert mean[2].isnan().all() and std[2].isnan().all()


@BACKEND
def test_large_logits_do_not_overflow(backend):
    one = torch.ones(3, 1)
    label_weight = torch.tensor([[300.0], [-300.0], [299.0]])
    with Way(backend).running():
        probs, mean, std = ops.head([one], [torch.ones(1, 1)], [torch.zeros(1)], label_weight, torch.zeros(3), [3])
    expected = torch.tensor([1.0, 0.0, np.exp(-1)]) / (1 + np.exp(-1))
    torch.testing.assert_close(probs, expected.float().expand(3, 3), rtol=1e-5, atol=1e-30)
    torch.testing.assert_close(mean[0], probs[0], rtol=1e-6, atol=0)
    assert (std <= 1e-7).all()


@BACKEND
def test_no_images_and_strided_operands(backend):
    features, weights, biases, *label, counts, window_of = PROBLEMS[3].operands()
    strided = [tensor.T.contiguous().T for tensor in weights]
    assert not strided[0].is_contiguous()
    with Way(backend).running():
        straight = ops.head(features, weights, biases, *label, counts, window_of=window_of)
        results = ops.head(features, strided, biases, label[0].T.contiguous().T, label[1], counts, window_of=window_of)
        assert all(map(torch.equal, results, straight))
        empty = ops.head([x[:0] for x in features], weights, biases, *label, [])
    assert [list(tensor.shape) for tensor in empty] == [[0, 14], [0, 14], [0, 14]]


@BACKEND
def test_it_is_the_scorers_head(backend):
    """The head gives the cpu executor's and `summarise`'s results for two images, from the features of its columns."""
    model = small.model()
    net, executor = model.net, executor_of(model.net)
    photos = [np.random.default_rng(i).integers(0, 256, (40 + i, 50, 3)).astype(np.uint8) for i in range(2)]
    images = [executor.blocks(prepare(photo, model.spec, samples=7 - i, grid=1, seed=0).jobs) for i, photo in enumerate(photos)]
    expected = executor.head(images)
    features, window_of = [], []
    for i, column in enumerate(net.columns):
        features.append(head_rows(column, [maps.columns[i] for maps in images]))
        shifted = [images[0].window_of[i], images[1].window_of[i] + len(images[0].columns[i])]
        window_of.append(torch.from_numpy(np.concatenate(shifted)))
    weights, biases = ([getattr(column.fc[-1], name) for column in net.columns] for name in ("weight", "bias"))
    with torch.no_grad(), Way(backend).running():
        probs, mean, std = ops.head(
            features, weights, biases, net.label.weight, net.label.bias, [7, 6], window_of=window_of,
            out_dtype=None if backend == "triton" else torch.float64,
        )  # fmt: skip
    if backend == ON_CPU[0]:
        assert np.array_equal(probs.numpy(), np.concatenate(expected))
    np.testing.assert_allclose(probs.numpy(), np.concatenate(expected), rtol=1e-5)
    for i, image in enumerate(expected):
        score = summarise(image, ("low", "high"))
        assert mean[i, 1].item() == pytest.approx(score.mean, rel=1e-5)
        assert std[i, 1].item() == pytest.approx(score.std, rel=1e-4)
        assert mean[i].tolist() == pytest.approx(list(score.probs.values()), rel=1e-5)


def test_what_triton_does_not_do_is_another_backends_work(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    cpu = torch.device("cpu")
    assert choose(BACKENDS, PAPER.params, cpu) == ON_CPU[0]
    wide = replace(PAPER.params, out_dtype=torch.float64)
    assert BACKENDS["triton"].can_run(PAPER.params, cpu) == "Triton's kernels run on cuda, not on cpu"
    many = Problem((2,), (3,), (4,), 65, (2,))
    with kernels_on_cpu(80) as done:
        assert choose(BACKENDS, PAPER.params, cpu) == "triton"
        assert choose(BACKENDS, wide, cpu) == ON_CPU[0]
        assert "results in float32, not in torch.float64" in BACKENDS["triton"].can_run(wide, cpu)
        assert "up to 64 labels, not 65" in BACKENDS["triton"].can_run(many.params, cpu)
        assert "sums in float32, not in torch.float64" in BACKENDS["triton"].can_run(DOUBLE.params, cpu)
        _check(many, _run(many.operands()))
        _check(DOUBLE, _run(DOUBLE.operands()))
    assert not done


@pytest.mark.needs_engine
def test_what_the_engine_does_not_do_is_refused_by_name(monkeypatch):
    monkeypatch.delenv("DCNN_FAST_BACKEND", raising=False)
    cpu = torch.device("cpu")
    halves = replace(PAPER.params, weight_dtype=torch.float16)
    assert "float32 or bfloat16, not in torch.float16" in BACKENDS["cpu"].can_run(halves, cpu)
    assert "takes float32, not torch.float64" in BACKENDS["cpu"].can_run(DOUBLE.params, cpu)
    assert "runs on the cpu, not on cuda" in BACKENDS["cpu"].can_run(PAPER.params, torch.device("cuda"))
    assert {choose(BACKENDS, params, cpu) for params in (halves, DOUBLE.params)} == {"reference"}
    with Way("cpu").running(), pytest.raises(BackendError, match="not in torch.float16"):
        _run(PROBLEMS[5].operands())


def test_a_problem_knows_its_work():
    params = HeadParams((3, 2), (10, 20), (4, 5), samples=6, images=2, labels=7)
    assert params.joined == 9
    assert params.macs == 3 * 10 * 4 + 2 * 20 * 5 + 6 * 9 * 7
    assert params.bytes == 4 * (3 * 10 + 4 * 10 + 2 * 20 + 5 * 20 + 9 + 7 * 9 + 7 + 6 * 7 + 2 * 2 * 7)
    wide = replace(params, out_dtype=torch.float64)
    assert wide.bytes - params.bytes == 4 * (6 * 7 + 2 * 2 * 7)
    assert str(wide) == f"{params}-float64"


def test_a_networks_problem_is_of_its_last_layers():
    found = problem_of(small.network(), torch.bfloat16, torch.float64, samples=7)
    assert found == HeadParams((7, 7), (20, 20), (16, 16), 7, 1, 2, torch.bfloat16, torch.float32, torch.float64)
    alone = Network("one", (replace(small.column("warp"), fc=(5,)),), ("a", "b", "c"))
    assert problem_of(alone, torch.float32) == HeadParams((50,), (alone.columns[0].features,), (5,), 50, 1, 3)


def test_the_registration():
    operands = PROBLEMS[3].operands()
    tester.registered(torch.ops.dcnn_fast.head, *operands)
    tester.registered(torch.ops.dcnn_fast.head, *operands, torch.float64)
    tester.compiled(lambda *tensors: _run([*tensors, *operands[5:]]), *operands[:5])


GIVEN = ("features", "weights", "biases", "label_weight", "label_bias", "counts", "window_of")


@pytest.mark.parametrize(
    ("name", "change", "error", "sentence"),
    [
        ("features", [], ValueError, "features must be of at least one column, got none"),
        ("weights", lambda w: w[:1], ValueError, "weights must be one for each of 2 columns, got 1"),
        ("window_of", lambda rows: rows[:1], ValueError, "window_of must be one for each of 2 columns, got 1"),
        ("biases", lambda b: [b[0], None], TypeError, r"biases\[1\] must be a torch.Tensor, got NoneType"),
        ("features", lambda x: [x[0], x[1][0]], ValueError, r"features\[1\] must have shape \[rows, inputs\], got \[6\]"),
        ("weights", lambda w: w[::-1], ValueError, r"weights\[0\] must have shape \[outputs, 5\], got \[3, 6\]"),
        ("biases", lambda b: b[::-1], ValueError, r"biases\[0\] must have shape \[2\], got \[3\]"),
        (
            "weights", lambda w: [w[0], w[1].half()], TypeError,
            "weights must have one floating dtype, got torch.float16 beside torch.float32",
        ),
        (
            "features", lambda x: [each.double() for each in x], TypeError,
            r"features\[0\] must have dtype torch.float32 or that of the weights",
        ),
        ("counts", [1, 4], ValueError, r"features\[0\] must have a row for each of 5 samples, got 4 rows"),
        (
            "window_of", lambda rows: [None, rows[1].int()], ValueError,
            r"window_of\[1\] must be int64 \[4\], got torch.int32 \[4\]",
        ),
        (
            "window_of", lambda rows: [None, rows[1].to("meta")], ValueError,
            r"window_of\[1\] must be on cpu, as the features are, got meta",
        ),
        ("label_weight", lambda w: w[:, :4], ValueError, r"label_weight must have shape \[labels, 5\], got \[2, 4\]"),
        ("label_bias", lambda b: b[:1], ValueError, r"label_bias must have shape \[2\], got \[1\]"),
        ("counts", [0, 4], ValueError, r"counts must be at least 1 each, got \[0, 4\]"),
        (
            "label_bias", torch.Tensor.double, TypeError,
            "label_bias must have dtype torch.float32 beside weights in torch.float32, got torch.float64",
        ),
        (
            "weights", lambda w: [w[0], w[1].to("meta")], ValueError,
            r"weights\[1\] must be on cpu, as features\[0\] is, got meta",
        ),
        (
            "out_dtype", torch.float16, TypeError,
            "out_dtype must be torch.float32, as the sums are, or torch.float64, got torch.float16",
        ),
        ("label_bias", lambda b: b.clone().requires_grad_(), RuntimeError, "head has no backward"),
    ],
)  # fmt: skip
def test_bad_operands_are_refused_by_name(name, change, error, sentence):
    given = dict(zip(GIVEN, Problem((4, 3), (5, 6), (2, 3), 2, (1, 3), (1,)).operands(), strict=True))
    tester.refused(ops.head, given, {name: change}, error, sentence)
    assert given["counts"] == [1, 3]
