"""Former names in Python work for one more release: the same results, and a DeprecationWarning for the line that uses one."""

from __future__ import annotations

import importlib
import inspect
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from dcnn_fast import Score, Scorer, batch, former, nets
from dcnn_fast.batch import ScoreShards, deal, deal_shards
from dcnn_fast.evaluation import measure, predict
from dcnn_fast.evaluation.reproduce import Protocol
from dcnn_fast.nets import save_model
from dcnn_fast.scoring.extras import Extras
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
    "extras": (lambda: Scorer(small.model(), per_sample=True).extras.samples, lambda: True),
    "Extras": (lambda: Extras(samples=True), lambda: Extras(per_sample=True)),
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
    """As in programs that ask for the samples one by one."""
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


def scorer():
    return Scorer(replace(small.model(), percentiles=OTHERS), samples=3, per_sample=True)


PICKLED = {
    "Score": (Score(samples_count=3, path="a"), {"Vsamples_count": "Vviews"}),
    "Settings": (Settings(test_samples=2), {"Vtest_samples": "Vtest_views"}),
    "Protocol": (Protocol(samples=3, resamples=9), {"Vsamples": "Vviews", "Vresamples": "Vdraws"}),
    "Extras": (scorer().extras, {"Vper_sample": "Vsamples"}),
    "Percentiles": (OTHERS, {"cdcnn_fast.nets.percentiles\nPercentiles": "cdcnn_fast.nets.reference\nReference"}),
    "Deal": (deal.Deal(1, {}, None, {}, 0, "0"), {"cdcnn_fast.batch.deal\nDeal": "cdcnn_fast.batch.plan\nPlan"}),
}


def as_pickled_before(value, names):
    """An earlier version's pickle, read by this one. names: this version's names -> the earlier ones, as pickles have them."""
    text = pickle.dumps(value, protocol=0)
    for now, before in names.items():
        assert f"{now}\n".encode() in text
        text = text.replace(f"{now}\n".encode(), f"{before}\n".encode())
    return pickle.loads(text)


@pytest.mark.parametrize("name", PICKLED)
def test_what_an_earlier_version_pickled_has_its_values(name, recwarn):
    value, names = PICKLED[name]
    assert as_pickled_before(value, names) == value and not set(vars(as_pickled_before(value, names))) - set(vars(value))


def test_a_scorer_that_an_earlier_version_pickled_scores_the_same():
    before = {"Vsamples": "Vviews", "Vper_sample": "Vsamples", "Vpercentiles": "Vreference"}
    found, expected = as_pickled_before(scorer(), before).score(PHOTO), scorer().score(PHOTO)
    assert (found.as_dict(), found.samples_count) == (expected.as_dict(), 3) and found.percentile is not None


def test_the_shards_that_an_earlier_version_pickled_are_scored(tmp_path):
    save_model(small.model(), tmp_path / "m.safetensors")
    deal_shards([], str(tmp_path / "run"), 1, model=str(tmp_path / "m.safetensors"), samples=2)
    run = tmp_path / "run" / "run.json"
    run.write_text(run.read_text().replace('"samples": 2', '"views": 2'))
    assert as_pickled_before(ScoreShards(str(tmp_path / "run")), {"V_deal": "V_plan"}).do(0)["rows"] == 0


def test_files_and_answers_keep_their_names():
    score = Score(path="a", samples_count=3)
    assert score.csv_row()["views"] == "3" and score.as_dict()["views"] == 3 and "samples_count" not in score.as_dict()


@pytest.mark.parametrize("old", former.MODULES)
def test_a_former_module_is_the_one_that_has_its_contents(old, recwarn, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)  # whatever another test has imported
    for name in (old, former.MODULES[old]):
        assert importlib.import_module(name) is sys.modules[former.MODULES[old]]
    (warning,) = [each for each in recwarn if each.category is DeprecationWarning]
    assert warning.filename == __file__ and str(warning.message).startswith(f"{old} is called {former.MODULES[old]}: ")


def test_former_modules_are_attributes_of_their_packages():
    """As they used to be once any part of the package had been imported."""
    packages = sorted({name.rpartition(".")[0] for name in former.MODULES})
    code = f"import {', '.join(packages)}\n" + "".join(f"assert {old} is {now}\n" for old, now in former.MODULES.items())
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    said = done.stderr.splitlines()
    assert done.returncode == 0 and len(said) == len(former.MODULES), done.stderr
    for line, (old, text) in enumerate(zip(former.MODULES, said, strict=True), 2):
        assert text.startswith(f"<string>:{line}: DeprecationWarning: {old} is called"), text


def test_a_program_imports_a_former_module_in_every_way():
    """Python itself shows the warning; a class is the same under both names."""
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
