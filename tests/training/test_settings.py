"""Settings, schedules and drops: their meaning and refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from dcnn_fast.cli.train_rule import Rule
from dcnn_fast.networks import LayerRule
from dcnn_fast.training import Settings, parse_drops, parse_schedule
from dcnn_fast.training.settings import differences, settings_from_dict

NEW = ("optimiser", "warmup", "clip", "targets", "class_weights", "freeze", "patience", "ties")


def test_cuda_convnets_schedules():
    """docs/cuda-convnet.md#layer-files: dexp's step i of n has target ** (-i / (n - 1)), at equal fractions of the training."""
    dexp = parse_schedule("dexp[tgtFactor=100;numSteps=3]")
    assert [dexp.factor(done) for done in (0, 0.33, 0.34, 0.66, 0.67, 1)] == pytest.approx([1, 1, 0.1, 0.1, 0.01, 0.01])
    linear, exp = parse_schedule("linear[tgtFactor=4]"), parse_schedule("exp[tgtFactor=4]")
    assert [linear.factor(done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.625, 0.25])
    assert [exp.factor(done) for done in (0, 0.5, 1)] == pytest.approx([1, 0.5, 0.25])
    assert parse_schedule("const").factor(0.7) == 1
    assert parse_schedule("dexp") == parse_schedule("dexp[tgtFactor=10; numSteps=2]")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("wave", "schedule must be one of const, linear, exp, dexp, cosine; got 'wave'"),
        ("dexp[base=0.1]", "an entry must be one of tgtFactor, numSteps; got 'base=0.1'"),
        ("dexp[numSteps=1]", "numSteps must be at least 2, got 1"),
        ("dexp[numSteps=2.5]", "numSteps must be an integer"),
        ("exp[tgtFactor=x]", "tgtFactor must be a number, got 'x'"),
        ("exp[tgtFactor=-1]", "tgtFactor must be positive"),
        ("exp[tgtFactor=2", "schedule must read"),
    ],
)
def test_a_wrong_schedule_is_refused_with_the_reason(text, why):
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        parse_schedule(text)
    with pytest.raises(ValueError, match=why.replace("[", r"\[")):
        Settings(schedule=text)


def test_the_rate_of_a_step_is_schedule_times_drops():
    settings = Settings(epochs=4, schedule="linear[tgtFactor=2]", drops=parse_drops("1:0.1, 3:0.5"))
    assert settings.factor(0, 0, 10) == 1
    assert settings.factor(0, 5, 10) == pytest.approx(1 - 0.5 / 8)
    assert settings.factor(1, 0, 10) == pytest.approx(0.1 * (1 - 0.5 / 4))
    assert settings.factor(3, 0, 10) == pytest.approx(0.05 * (1 - 0.5 * 3 / 4))
    with pytest.raises(ValueError, match="drops must read epoch:factor,..., got '3'"):
        parse_drops("1:0.1,3")


def test_a_cosine_falls_to_nothing_after_a_warm_up():
    """A linear warm-up, then 0.5 (1 + cos pi t) with t from 0 at its end."""
    settings = Settings(epochs=4, schedule="cosine", warmup=0.5)
    assert [settings.factor(0, step, 4) for step in (0, 1)] == [0.5, 1.0]
    assert settings.factor(0, 2, 4) == 1.0 and settings.factor(2, 1, 4) == pytest.approx(0.5)
    assert settings.factor(3, 3, 4) == pytest.approx(0.5 * (1 - math.cos(math.pi / 14)))
    assert Settings(epochs=4, warmup=2, drops=((1, 0.1),)).factor(1, 0, 10) == pytest.approx(0.1 * 11 / 20)


@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 0}, {"batch": 0}, {"batch": True}, {"rate": -1.0}, {"rate": float("nan")}, {"decay": float("inf")},
        {"column_rates": (1.0, -1.0)}, {"drops": ((-1, 0.1),)}, {"tune": "last"}, {"mean": "image"}, {"precision": "int8"},
        {"ties": "last"},
        {"best_by": "luck"}, {"seed": -1}, {"test_samples": 0}, {"evaluate_every": -1}, {"checkpoint_steps": 1.5},
    ],
)  # fmt: skip
def test_a_wrong_setting_is_named(changes):
    with pytest.raises(ValueError, match=next(iter(changes))):
        Settings(**changes)


def test_settings_go_through_json():
    settings = Settings(drops=((3, 0.1),), column_rates=(1.0, 0.5), schedule="exp", flip=True, freeze=("label",))
    for each in (settings, replace(settings, class_weights=(1.0, 2.0)), replace(settings, class_weights="balanced")):
        assert settings_from_dict(json.loads(json.dumps(each.to_dict()))) == each
    before = {name: value for name, value in Settings().to_dict().items() if name not in NEW}
    assert settings_from_dict(before) == Settings()  # from a checkpoint of version 0.1


def test_what_keeps_a_run_from_going_on():
    before = Settings(epochs=4)
    assert differences(before, Settings(epochs=9)) == []
    assert differences(before, Settings(epochs=3)) == ["epochs was 4 and is 3"]
    assert differences(before, Settings(epochs=4, rate=0.5, flip=True)) == [
        "rate was 0.001 and is 0.5",
        "flip was False and is True",
    ]
    falling = Settings(epochs=4, schedule="linear")
    assert differences(falling, Settings(epochs=9, schedule="linear")) == ["epochs was 4 and is 9"]


def test_layer_rules_go_through_json_and_their_schedules_count():
    rules = (("label", LayerRule(rate=0.5, schedule="exp[tgtFactor=4]")), ("columns.0.fc.0", LayerRule()))
    settings = Settings(epochs=2, layer_rules=rules)
    assert settings_from_dict(json.loads(json.dumps(settings.to_dict()))) == settings
    assert differences(settings, replace(settings, epochs=3)) == ["epochs was 2 and is 3"]
    assert differences(Settings(epochs=2, layer_rules=rules[1:]), Settings(epochs=3, layer_rules=rules[1:])) == []
    assert settings.factor(1, 0, 10, "exp[tgtFactor=4]") == pytest.approx(0.5) and settings.factor(1, 0, 10) == 1


def test_each_rule_has_defaults_of_its_own_the_same_as_the_commands():
    assert (Settings().bias_rate, Settings(rate=0.1).bias_rate, Settings().decay) == (0.002, 0.002, 0.0005)
    adamw = Settings(optimiser="adamw", rate=0.01)
    assert (adamw.bias_rate, adamw.decay) == (0.01, 0.01) and Settings(optimiser="adamw", decay=0.0).decay == 0
    for optimiser in ("convnet", "adamw"):
        decided = Rule(optimiser).decided(layer_files=False)
        assert decided == {name: getattr(Settings(optimiser=optimiser), name) for name in decided}
