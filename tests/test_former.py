"""Former names in Python go on working for a release: the same results, and a DeprecationWarning for the line that uses one."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dcnn_fast import Score, Scorer, batch, former, nets
from dcnn_fast.evaluation import measure, predict
from dcnn_fast.evaluation.reproduce import Protocol
from dcnn_fast.scoring.prepare import prepare
from dcnn_fast.training import Settings
from dcnn_fast.training.settings import settings_from_dict
from tests import small
from tests.training import sets

PHOTO = np.random.default_rng(0).integers(0, 256, (40, 50, 3)).astype(np.uint8)
EXAMPLES = [sets.example(number) for number in range(4)]

OTHERS = nets.Percentiles.of("others", [0.1, 0.2])


def probs(**options):
    return predict(small.model(), EXAMPLES, **options).probs.tolist()


PAIRS = {
    "Scorer": (lambda: Scorer(small.model(), views=3).score(PHOTO), lambda: Scorer(small.model(), samples=3).score(PHOTO)),
    "Scorer.views": (lambda: Scorer(small.model(), samples=3).views, lambda: 3),
    "samples=True": (
        lambda: Scorer(small.model(), samples=True).score(PHOTO), lambda: Scorer(small.model(), per_sample=True).score(PHOTO),
    ),
    "Score": (lambda: Score(views=3), lambda: Score(samples_count=3)),
    "Score.views": (lambda: Score(samples_count=3).views, lambda: 3),
    "replace": (lambda: replace(Score(), views=3), lambda: Score(samples_count=3)),
    "Model": (lambda: replace(small.model(), reference=OTHERS).percentiles, lambda: OTHERS),
    "Model.reference": (lambda: replace(small.model(), percentiles=OTHERS).reference, lambda: OTHERS),
    "Reference": (lambda: nets.Reference, lambda: nets.Percentiles),
    "nets.percentiles": (lambda: nets.percentiles.Reference, lambda: nets.Percentiles),
    "plan_shards": (lambda: batch.plan_shards, lambda: batch.deal_shards),
    "read_plan": (lambda: batch.read_plan, lambda: batch.read_deal),
    "predict": (lambda: probs(views=2), lambda: probs(samples=2)),
    "measure": (
        lambda: measure(predict(small.model(), EXAMPLES, samples=1), draws=9).intervals,
        lambda: measure(predict(small.model(), EXAMPLES, samples=1), resamples=9).intervals,
    ),
    "Protocol.views": (lambda: Protocol(views=3), lambda: Protocol(samples=3)),
    "Protocol.draws": (lambda: Protocol(draws=3), lambda: Protocol(resamples=3)),
    "Settings": (lambda: Settings(test_views=2), lambda: Settings(test_samples=2)),
    "prepare": (
        lambda: len(prepare(PHOTO, small.network(), views=3, grid=1, seed=0).jobs[0].windows),
        lambda: len(prepare(PHOTO, small.network(), samples=3, grid=1, seed=0).jobs[0].windows),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PAIRS)
def test_a_former_name_does_the_same_and_warns_once_for_the_line_that_uses_it(name, recwarn):
    before, now = PAIRS[name]
    found = before()
    (warning,) = [each for each in recwarn if each.category is DeprecationWarning]
    assert warning.filename == __file__ and "the former name goes with the next release" in str(warning.message)
    recwarn.clear()
    assert now() == found and not [each for each in recwarn if each.category is DeprecationWarning]


def test_both_former_meanings_at_once(recwarn):
    """As programs have it that ask for samples one by one."""
    found = Scorer(small.model(), views=3, samples=True).score(PHOTO)
    assert len(found.samples.probs) == 3
    assert sorted(str(each.message).partition("=")[0] for each in recwarn) == ["samples", "views"]


def test_both_names_are_refused():
    with pytest.raises(TypeError, match="views is the former name of samples: give samples alone"):
        Scorer(small.model(), views=3, samples=3)


def test_signatures_have_the_present_names_alone():
    for function in (Scorer, Score, predict, measure, Protocol, Settings, prepare):
        assert not {"views", "draws", "test_views"} & set(inspect.signature(function).parameters)


def test_settings_of_an_earlier_version_are_read():
    written = Settings(test_samples=2).to_dict()
    written["test_views"] = written.pop("test_samples")
    assert settings_from_dict(written) == Settings(test_samples=2)


def test_files_and_answers_keep_their_names():
    score = Score(path="a", samples_count=3)
    assert score.csv_row()["views"] == "3" and score.as_dict()["views"] == 3 and "samples_count" not in score.as_dict()


@pytest.mark.parametrize("old", former.MODULES)
def test_a_former_module_is_the_one_that_has_its_contents(old, recwarn):
    for name in (old, former.MODULES[old]):
        assert importlib.import_module(name) is sys.modules[former.MODULES[old]]
    (warning,) = [each for each in recwarn if each.category is DeprecationWarning]
    assert warning.filename == __file__ and str(warning.message).startswith(f"{old} is called {former.MODULES[old]}: ")


def test_a_program_imports_a_former_module_in_every_way():
    """As Python shows it of itself; a class is the same by both names."""
    code = (
        "from dcnn_fast.training import files\nfrom dcnn_fast.training.files import put\nimport dcnn_fast.training.files\n"
        "import pickle, dcnn_fast.training.durable_files as now\n"
        "assert files is now and put is now.put is pickle.loads(b'cdcnn_fast.training.files\\nput\\n.')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.startswith("<string>:1: DeprecationWarning: dcnn_fast.training.files is called"), done.stderr
    assert done.stderr.count("is called") == 1, done.stderr


def test_nothing_of_the_package_uses_a_former_name():
    code = "import dcnn_fast.cli.main, dcnn_fast.cli.train_run, dcnn_fast.batch, dcnn_fast.evaluation, dcnn_fast.scoring"
    done = subprocess.run([sys.executable, "-W", "error::DeprecationWarning", "-c", code], check=False)
    assert done.returncode == 0
