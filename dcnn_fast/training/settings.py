"""What decides the outcome of a training run besides the network and the data."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Literal

from dcnn_fast.printable import quoted
from dcnn_fast.spec import LayerRule
from dcnn_fast.training.schedule import drop_factor, parse_schedule
from dcnn_fast.training.update_rule import BIAS_RATE, DECAY, MOMENTUM, RATE

TrainingPrecision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[TrainingPrecision, ...] = ("fp32", "tf32", "bf16", "fp16")
Measure = Literal["accuracy", "balanced_accuracy", "auc", "loss"]
MEASURES: tuple[Measure, ...] = ("accuracy", "balanced_accuracy", "auc", "loss")

_MOST = {"seed": 2**64 - 1, "test_views": 2**16}


@dataclass(frozen=True)
class Settings:
    """The options of a run; the defaults are the paper's (III-G) where it names them, and facts.md 5's elsewhere.

    epochs: passes over the training set. batch: examples of a mini-batch, over all processes.
    rate, bias_rate, momentum, bias_momentum, decay: of `ConvNetUpdate`; biases do not decay.
    schedule: of all rates over the whole run, in cuda-convnet2's notation (`parse_schedule`).
    layer_rules: by the start of a layer's parameters' names its `spec.LayerRule`, as `spec.read_convnet_cfg` reads them: in
        place of all that stands in the two lines above, for every layer or for none. drops: (epoch, factor) by hand,
        on top of it; epochs count from 0.
    column_rates: a factor for the rates of each column, empty for 1 everywhere; a column with 0 is frozen for this run.
    tune: "all", or "label" for the label layer alone (the quad-column, III-B). What a run freezes has its dropout off.
    flip: half of the examples, drawn anew each epoch, are mirrored left to right, for all columns alike.
    mean: "data" takes the mean per channel off each column that is not frozen, over the planes of the training set, or of a
        seeded choice of `mean_images` where it holds more; "spec" keeps what the network has.
    precision: of the products, forward and backward; parameters and increments are in fp32 always. In fp16 the loss is scaled.
    evaluate_every: epochs between looks at the held-out examples, 0 for none; the last epoch is always looked at.
    test_views: windows averaged for each of them. best_by: the measure that says which epoch was best.
    checkpoint_steps: mini-batches between checkpoints inside an epoch, besides the one at its end; 0 for none.
    seed: of the order, the windows, the flips, the dropout and the choice for the mean. The initial weights are the caller's.

    Raises ValueError naming the argument, the rule and what came.
    """

    epochs: int = 50
    batch: int = 128
    rate: float = RATE
    bias_rate: float = BIAS_RATE
    momentum: float = MOMENTUM
    bias_momentum: float = MOMENTUM
    decay: float = DECAY
    schedule: str = "const"
    layer_rules: tuple[tuple[str, LayerRule], ...] = ()
    drops: tuple[tuple[int, float], ...] = ()
    column_rates: tuple[float, ...] = ()
    tune: Literal["all", "label"] = "all"
    flip: bool = False
    mean: Literal["data", "spec"] = "data"
    mean_images: int = 1000
    precision: TrainingPrecision = "fp32"
    evaluate_every: int = 1
    test_views: int = 5
    best_by: Measure = "balanced_accuracy"
    checkpoint_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {
            "epochs": 1,
            "batch": 1,
            "mean_images": 1,
            "evaluate_every": 0,
            "test_views": 1,
            "checkpoint_steps": 0,
            "seed": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < bound:
                raise ValueError(f"{name} must be an integer of at least {bound}, got {quoted(value)}")
            if value > _MOST.get(name, 2**31 - 1):
                raise ValueError(f"{name} must be at most {_MOST.get(name, 2**31 - 1)}, got {quoted(value)}")
        for name in ("rate", "bias_rate", "momentum", "bias_momentum", "decay"):
            _require_not_negative(name, getattr(self, name))
        for factor in self.column_rates:
            _require_not_negative("column_rates", factor)
        for epoch, factor in self.drops:
            _require_not_negative("drops", factor)
            if epoch < 0:
                raise ValueError(f"drops must name epochs from 0 on, got {epoch}")
        choices = {"tune": ("all", "label"), "mean": ("data", "spec"), "precision": PRECISIONS, "best_by": MEASURES}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        parse_schedule(self.schedule)

    @property
    def constant(self) -> bool:
        """Whether no schedule depends on the number of epochs."""
        rules = [rule for _, rule in self.layer_rules]
        texts = {text for rule in rules for text in (rule.schedule, rule.bias_schedule)} if rules else {self.schedule}
        return all(parse_schedule(text).kind == "const" for text in texts)

    def factor(self, epoch: int, step: int, steps: int, schedule: str | None = None) -> float:
        """What rates with that schedule, by default the run's, are multiplied by at mini-batch `step` of the `steps` of an
        epoch, both counting from 0."""
        done = (epoch * steps + step) / (self.epochs * steps)
        return parse_schedule(self.schedule if schedule is None else schedule).factor(done) * drop_factor(self.drops, epoch)

    def to_dict(self) -> dict[str, Any]:
        """Ready for JSON; `settings_from_dict` reads it back."""
        plain = dataclasses.asdict(self)
        lists = {"drops": [list(drop) for drop in self.drops], "column_rates": list(self.column_rates)}
        return {**plain, **lists, "layer_rules": [list(rule) for rule in plain["layer_rules"]]}


def settings_from_dict(data: dict[str, Any]) -> Settings:
    """The settings that `Settings.to_dict` wrote."""
    drops = tuple((epoch, factor) for epoch, factor in data["drops"])
    rules = tuple((layer, LayerRule(**rule)) for layer, rule in data.get("layer_rules", ()))
    return Settings(**{**data, "drops": drops, "column_rates": tuple(data["column_rates"]), "layer_rules": rules})


def differences(before: Settings, now: Settings) -> list[str]:
    """What keeps a run with `before` from going on with `now`: one text for each setting, none where it may go on.

    More epochs are allowed where the rates do not depend on their number.
    """
    found = []
    for field in dataclasses.fields(Settings):
        old, new = getattr(before, field.name), getattr(now, field.name)
        grows = field.name == "epochs" and new > old and now.constant
        if old != new and not grows:
            found.append(f"{field.name} was {old!r} and is {new!r}")
    return found


def _require_not_negative(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
