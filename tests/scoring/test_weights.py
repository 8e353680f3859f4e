"""A scorer follows its model's weights: changes count from the next picture on, and unusable weights are refused by name."""

from __future__ import annotations

import io
import pickle
import threading

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from dcnn_fast import Scorer, WeightsError, load_model, save_model
from dcnn_fast.nets import Model, build
from dcnn_fast.scoring import shipped_model
from tests import small
from tests.ops.on_cpu import kernels_on_cpu

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 70, 3)).astype(np.uint8)


def numbers(score):
    return score.probs, score.mean, score.std, score.label


def changes():
    """Ways to change a model's weights; each names the changed one."""

    def data(net):
        net.columns[0].fc[0].weight.data = torch.zeros_like(net.columns[0].fc[0].weight)

    def filters(net):
        net.columns[1].blocks[0].weight.data = net.columns[1].blocks[0].weight.data * 2

    def loaded(net):
        net.load_state_dict(build(net.spec, seed=77).state_dict())

    def uncounted(net):
        net.columns[0].blocks[1].weight.data.mul_(-1)

    def numpy(net):
        net.columns[0].fc[0].weight.detach().numpy()[3, 5] += 1

    def bias(net):
        with torch.no_grad():
            net.columns[0].fc[-1].bias.add_(1)

    def stepped(net):
        net.label.weight.grad = torch.ones_like(net.label.weight)
        torch.optim.SGD([net.label.weight], lr=1.0).step()

    def replaced(net):
        net.label = build(net.spec, seed=5).label

    def column(net):
        net.columns[0] = build(net.spec, seed=5).columns[0]

    def vector(net):
        for parameter in net.parameters():
            parameter.data = parameter.data.contiguous()
        values = torch.nn.utils.parameters_to_vector(net.parameters())
        torch.nn.utils.vector_to_parameters(values * 1.01, net.parameters())

    def means(net):
        net.set_means([(1.0, 2.0, 3.0)] * len(net.columns))

    def one_mean(net):
        net.columns[0].set_mean((200.0, 100.0, 50.0))

    def parametrised(net):
        class Doubled(torch.nn.Module):
            def forward(self, weight):
                return 2 * weight

        torch.nn.utils.parametrize.register_parametrization(net.label, "weight", Doubled())

    def pruned(net):
        torch.nn.utils.prune.l1_unstructured(net.columns[0].fc[0], "weight", amount=0.5)

    def pruned_and_changed(net):
        pruned(net)
        with torch.no_grad():
            net.columns[0].fc[0].weight_orig.mul_(3)

    return [
        data, filters, loaded, uncounted, numpy, bias, stepped, replaced, column, vector, means, one_mean, parametrised, pruned,
        pruned_and_changed,
    ]  # fmt: skip


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("change", changes(), ids=lambda change: change.__name__)
def test_changed_weights_count_from_the_next_image_on(change, dtype):
    scorer = Scorer(small.model(), samples=5, dtype=dtype)
    before = numbers(scorer.score(PHOTO))
    change(scorer.model.net)
    after = numbers(scorer.score(PHOTO))
    other = small.model()
    change(other.net)
    assert after == numbers(Scorer(other, samples=5, dtype=dtype).score(PHOTO))
    assert after != before
    assert [numbers(score) for score in scorer.score_many([PHOTO] * 2)] == [after] * 2
    twin = pickle.loads(pickle.dumps(scorer))
    assert numbers(twin.score(PHOTO)) == after
    assert twin.model.digest == scorer.model.digest != small.model().digest


@pytest.mark.parametrize("step", [2, 36])
def test_a_change_of_some_columns_of_a_large_matrix_counts_in_bf16(step):
    """The change goes through `.data`, which torch does not count, and lies between the sampled values."""
    scorer = Scorer(samples=2, dtype="bfloat16")
    scorer.score(PHOTO)
    for column in scorer.model.net.columns:
        kept = torch.arange(column.fc[0].weight.shape[1]) % step == 0
        column.fc[0].weight.data[:, ~kept] = 0
    assert numbers(scorer.score(PHOTO)) == numbers(Scorer(scorer.model, samples=2, dtype="bfloat16").score(PHOTO))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_that_change_while_pictures_are_scored_are_refused(dtype):
    """An image's blocks and head would see different weights: they change once the first of a batch has passed the blocks."""
    scorer = Scorer(small.model(), samples=3, dtype=dtype)
    expected = numbers(scorer.score(PHOTO))
    executor, second_begun, first_done = scorer.stages.executor, threading.Event(), threading.Event()
    blocks = executor.blocks

    def watched(jobs):
        found = blocks(jobs)
        assert second_begun.wait(20)  # otherwise the first could form a batch alone, finished before the second arrives
        first_done.set()
        return found

    class Second(ImageFile.ImageFile):
        def _open(self):
            self._mode, self._size, self.tile = "RGB", (60, 50), []

        def load(self):
            second_begun.set()
            assert first_done.wait(20)
            with torch.no_grad():
                scorer.model.net.columns[0].fc[0].weight.add_(1)
            self._im = Image.new("RGB", self._size).im
            return super().load()

    executor.blocks = watched
    with pytest.raises(WeightsError, match="were changed while a picture was being scored"):
        list(scorer.score_many([PHOTO, Second(io.BytesIO(b"second"))], batch=2, workers=2))
    assert numbers(scorer.score(PHOTO)) != expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("move", ["share_memory", "contiguous", "clone", "inference"])
def test_weights_that_only_move_change_no_bit(move, dtype):
    scorer = Scorer(small.model(), samples=5, dtype=dtype)
    expected = numbers(scorer.score(PHOTO))
    net = scorer.model.net
    if move == "share_memory":
        net.share_memory()
    elif move == "inference":
        with torch.inference_mode():
            assert numbers(scorer.score(PHOTO)) == expected
    else:
        for parameter in net.parameters():
            parameter.data = parameter.data.contiguous() if move == "contiguous" else parameter.data.clone()
    noise = [torch.full((1000, 1000), torch.nan) for _ in range(20)]  # freed memory is overwritten
    assert numbers(scorer.score(PHOTO)) == expected
    assert len(noise) == 20


class Louder(torch.nn.Linear):
    """A layer whose result differs from the one that its weights give."""

    def forward(self, x):
        """Twice the usual result."""
        return 2 * super().forward(x)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda net: net.double(), "weights must be float32 on the cpu to score there; columns.0.blocks.0.weight is float64"),
        (lambda net: net.half(), "is float16 on cpu"),
        (lambda net: net.label.to(torch.bfloat16), "label.weight is bfloat16"),
        (lambda net: net.to("meta"), "is float32 on meta"),
        (lambda net: setattr(net.label, "bias", None), "label must have a bias, it has none"),
        (
            lambda net: setattr(net, "label", torch.nn.Sequential(net.label)),
            "label must be a plain Linear .*, it is a Sequential",
        ),
        (lambda net: setattr(net.columns[0].fc[0], "__class__", Louder), "fc.0 must be a plain Linear .*, it is a Louder"),
    ],
)
def test_weights_that_cannot_be_used_are_refused_by_name(change, message, dtype):
    scorer = Scorer(small.model(), samples=3, dtype=dtype)
    scorer.score(PHOTO)
    change(scorer.model.net)
    with pytest.raises(WeightsError, match=message):
        scorer.score(PHOTO)
    with pytest.raises(WeightsError, match=message):
        list(scorer.score_many([PHOTO]))


def test_on_the_gpus_path_changed_weights_are_refused_and_moved_ones_are_not():
    with kernels_on_cpu():
        scorer = Scorer(small.model(views=("warp",)), "cuda", samples=2)
        expected = scorer.score(PHOTO).mean
        scorer.model.net.share_memory()
        assert scorer.score(PHOTO).mean == expected
        with torch.no_grad():
            scorer.model.net.columns[0].blocks[0].bias.add_(1)
        with pytest.raises(WeightsError, match="have changed since they were laid out on the GPU: make a new Scorer"):
            scorer.score(PHOTO)


def test_a_model_file_may_be_cut_or_replaced_once_it_is_loaded(tmp_path):
    file = tmp_path / "m.safetensors"
    save_model(small.model(), file)
    scorer = Scorer(file, samples=3)
    expected = numbers(scorer.score(PHOTO))
    with open(file, "r+b") as opened:
        opened.seek(2000)
        opened.write(b"\xff" * 5000)
        opened.truncate(7000)
    assert numbers(scorer.score(PHOTO)) == expected


def test_the_digest_is_of_what_decides_a_score(tmp_path):
    model = load_model(shipped_model())
    digest = model.digest
    assert len(digest) == 64
    assert pickle.loads(pickle.dumps(model)).digest == digest
    assert Model(model.net, {"another": "provenance"}, model.percentiles).digest == digest != Model(model.net).digest
    for parameter in model.net.parameters():
        parameter.data = parameter.data.contiguous()
    assert model.digest == digest
    model.net.label.bias.data[0] += 1e-6
    assert model.digest != digest
    assert small.model().digest != small.model(labels=("low", "good")).digest


def test_what_a_model_says_of_its_scores_is_said_wherever_it_lies(tmp_path):
    model = Model(small.model().net, {"caution": "It rewards blur."})
    save_model(model, tmp_path / "m.safetensors")
    for scorer in (Scorer(model), Scorer(tmp_path / "m.safetensors"), pickle.loads(pickle.dumps(Scorer(model)))):
        assert scorer.caution == "It rewards blur."
    for silent in ({}, {"caution": ""}, {"caution": 3}):
        assert Scorer(Model(model.net, silent)).caution is None
