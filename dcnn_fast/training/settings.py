"""The settings that decide a training run's result, besides the network and the data."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from dcnn_fast import former
from dcnn_fast.networks import LayerRule
from dcnn_fast.ops.block.params import TIES, Ties
from dcnn_fast.printable import quoted
from dcnn_fast.training.schedule import drop_factor, parse_schedule, warmed
from dcnn_fast.training.update_rule import BIAS_RATE, DECAY, MOMENTUM, RATE

TrainingPrecision = Literal["fp32", "tf32", "bf16", "fp16"]
PRECISIONS: tuple[TrainingPrecision, ...] = ("fp32", "tf32", "bf16", "fp16")
Optimiser = Literal["convnet", "adamw"]
OPTIMISERS: tuple[Optimiser, ...] = ("convnet", "adamw")
Targets = Literal["labels", "soft", "regression", "emd"]
TARGETS: tuple[Targets, ...] = ("labels", "soft", "regression", "emd")
Measure = Literal["accuracy", "balanced_accuracy", "auc", "loss"]
MEASURES: tuple[Measure, ...] = ("accuracy", "balanced_accuracy", "auc", "loss")

# Defaults of each update rule; without one for the bias rate, that is the rate.
USUAL: Mapping[str, Mapping[str, float]] = {
    "convnet": {"rate": RATE, "bias_rate": BIAS_RATE, "momentum": MOMENTUM, "decay": DECAY},
    "adamw": {"rate": RATE, "decay": 0.01},
}
_LEFT_OUT: Any = None

_FORMER = {"test_views": "test_samples"}  # earlier names in files, and the present ones

_MOST = {"seed": 2**64 - 1, "test_samples": 2**16}


@former.taking(test_views="test_samples")
@dataclass(frozen=True)
class Settings:
    """The options of a run; the defaults are the paper's (III-G) where it names them, else those of docs/paper.md#defaults.

    Args:
        epochs: Passes over the training set, at least 1.
        batch: Examples of a mini-batch, over all processes, at least 1.
        optimiser: The update rule: "convnet", cuda-convnet's (`ConvNetUpdate`), or "adamw" (Loshchilov and Hutter 2019), which
            has no momentum to be chosen.
        rate: The learning rate of the weights.
        bias_rate: The learning rate of the biases. Left out, it is 0.002, with "adamw" the rate.
        momentum: The momentum of the weights.
        bias_momentum: The momentum of the biases.
        decay: The decay of the weights; biases do not decay. Left out, it is 0.0005, with "adamw" 0.01.
        schedule: The schedule of all rates over the whole run, in cuda-convnet2's notation (`parse_schedule`), or "cosine".
        warmup: Epochs, also parts of one, over which the rates rise in a straight line before the schedule begins; fewer than
            the run has.
        clip: The greatest norm of the gradient of all weights and biases together; a greater one is shortened to it. 0: none.
        layer_rules: By the start of a layer's parameters' names its `networks.LayerRule`, as `networks.read_convnet_cfg` reads
            them: in place of rate, bias_rate, momentum, bias_momentum, decay and schedule, for every layer or for none.
        drops: (epoch, factor) pairs by hand, on top of the schedule; epochs count from 0.
        targets: The targets of the label layer: "labels"; "soft", a probability of high that is a smooth step of the rating,
            both by cross-entropy; "regression", log-odds of high in proportion to the rating, by squared errors; "emd", the
            histogram of votes, by squared earth mover's distances (`aims`).
        class_weights: How much an example of each label counts, one number for each, or "balanced", all labels alike; their
            mean over the examples becomes 1. Empty: every example counts alike.
        column_rates: A factor for the rates of each column, empty for 1 everywhere; a column with 0 is frozen for this run.
        freeze: Names of layers that this run leaves as they are, "columns.0.blocks.1", "columns.0.fc.0", "label"; a name stands
            for all that lies below it, too, and may have the wildcards *, ? and [...].
        tune: "all", or "label" for the label layer alone (the quad-column, III-B). Layers that a run freezes have their dropout
            off.
        flip: Whether half of the examples, drawn anew each epoch, are mirrored left to right, for all columns alike.
        mean: "data" takes the mean per channel off each column that is not frozen, over the planes of the training set, or of a
            seeded choice of `mean_images` where it holds more; "spec" keeps the mean that the network has.
        mean_images: The most examples over which that mean is taken, at least 1.
        precision: The precision of the products, forward and backward: "fp32", "tf32", "bf16" or "fp16"; parameters and
            increments are in fp32 always. In fp16 the loss is scaled.
        ties: Where a max-pool's gradient goes: to "all" of several equal maxima, as in cuda-convnet, or to the "first", as in
            torch. With "first" the C++ engine computes a step in tiles, which takes less time; the weights differ from the
            first step on.
        evaluate_every: Epochs between looks at the held-out examples, 0 for none; the last epoch is always looked at.
        test_samples: Windows averaged for each of them, at least 1.
        best_by: The measure that says which epoch was best, of the photographs of the split val, where there are such, else of
            the held-out ones: "accuracy", "balanced_accuracy", "auc" or "loss".
        patience: Looks at those without a better epoch, after which the run ends; 0: it goes on to its end.
        checkpoint_steps: Mini-batches between checkpoints inside an epoch, besides the one at its end; 0 for none.
        seed: The seed of the order, the windows, the flips, the dropout and the choice for the mean. The initial weights are
            the caller's.

    Raises:
        ValueError: An argument breaks a rule, or has no effect beside the others; the message names the argument, the rule and
            the value.
    """

    epochs: int = 50
    batch: int = 128
    optimiser: Optimiser = "convnet"
    rate: float = RATE
    bias_rate: float = _LEFT_OUT
    momentum: float = MOMENTUM
    bias_momentum: float = MOMENTUM
    decay: float = _LEFT_OUT
    schedule: str = "const"
    warmup: float = 0.0
    clip: float = 0.0
    layer_rules: tuple[tuple[str, LayerRule], ...] = ()
    drops: tuple[tuple[int, float], ...] = ()
    targets: Targets = "labels"
    class_weights: tuple[float, ...] | Literal["balanced"] = ()
    column_rates: tuple[float, ...] = ()
    freeze: tuple[str, ...] = ()
    tune: Literal["all", "label"] = "all"
    flip: bool = False
    mean: Literal["data", "spec"] = "data"
    mean_images: int = 1000
    precision: TrainingPrecision = "fp32"
    ties: Ties = "all"
    evaluate_every: int = 1
    test_samples: int = 5
    best_by: Measure = "balanced_accuracy"
    patience: int = 0
    checkpoint_steps: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        usual = USUAL.get(self.optimiser, USUAL["convnet"])
        for name, value in (("bias_rate", usual.get("bias_rate", self.rate)), ("decay", usual["decay"])):
            if getattr(self, name) is _LEFT_OUT:
                object.__setattr__(self, name, value)
        least = {
            "epochs": 1,
            "batch": 1,
            "mean_images": 1,
            "evaluate_every": 0,
            "test_samples": 1,
            "checkpoint_steps": 0,
            "patience": 0,
            "seed": 0,
        }
        for name, bound in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < bound:
                raise ValueError(f"{name} must be an integer of at least {bound}, got {quoted(value)}")
            if value > _MOST.get(name, 2**31 - 1):
                raise ValueError(f"{name} must be at most {_MOST.get(name, 2**31 - 1)}, got {quoted(value)}")
        for name in ("rate", "bias_rate", "momentum", "bias_momentum", "decay", "warmup", "clip"):
            _require_not_negative(name, getattr(self, name))
        for factor in self.column_rates:
            _require_not_negative("column_rates", factor)
        self._require_class_weights()
        for epoch, factor in self.drops:
            _require_not_negative("drops", factor)
            if epoch < 0:
                raise ValueError(f"drops must name epochs from 0 on, got {epoch}")
        choices = {
            "optimiser": OPTIMISERS, "targets": TARGETS, "tune": ("all", "label"), "mean": ("data", "spec"),
            "precision": PRECISIONS, "ties": TIES, "best_by": MEASURES,
        }  # fmt: skip
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        parse_schedule(self.schedule)
        self._require_of_use()

    def _require_class_weights(self) -> None:
        if isinstance(self.class_weights, str):
            if self.class_weights != "balanced":
                raise ValueError(f"class_weights must be balanced or numbers, got {quoted(self.class_weights)}")
        else:
            for weight in self.class_weights:
                _require_not_negative("class_weights", weight)
            if len(self.class_weights) > 1 and len({*self.class_weights}) == 1 and self.class_weights[0]:
                raise ValueError(f"class_weights must differ from one another, got {self.class_weights[0]:g} for all")
        if self.class_weights and self.targets not in ("labels", "soft"):
            raise ValueError(f"class_weights must not be given for targets that are no labels, got {self.targets}")

    def _require_of_use(self) -> None:
        """Raise ValueError naming a setting that has no effect beside the others."""
        if self.patience and not self.evaluate_every:
            raise ValueError(f"patience must not be given without looks, evaluate_every 0; got {self.patience}")
        looks = -(-self.epochs // self.evaluate_every) if self.evaluate_every else 0
        if self.patience and self.patience + 1 >= looks:
            raise ValueError(
                f"patience must be at least 2 less than the run's {looks} looks, so that it can end before its last one, "
                f"got {self.patience}"
            )
        if self.warmup >= self.epochs:
            raise ValueError(f"warmup must be shorter than the run of {self.epochs} epochs, got {self.warmup:g}")
        if self.optimiser == "adamw":
            for name in ("momentum", "bias_momentum"):
                if getattr(self, name) != MOMENTUM:
                    raise ValueError(f"{name} must not be given for adamw, which has its own, got {getattr(self, name)!r}")
            if self.layer_rules:
                raise ValueError("optimiser must be convnet where layer_rules say how each layer learns, got adamw")

    @property
    def constant(self) -> bool:
        """Whether no schedule depends on the number of epochs."""
        rules = [rule for _, rule in self.layer_rules]
        texts = {text for rule in rules for text in (rule.schedule, rule.bias_schedule)} if rules else {self.schedule}
        return all(parse_schedule(text).kind == "const" for text in texts)

    def factor(self, epoch: int, step: int, steps: int, schedule: str | None = None) -> float:
        """The factor of the rates at a mini-batch, of the warm-up, the schedule and the drops together.

        Args:
            epoch: The epoch, from 0.
            step: The mini-batch in the epoch, from 0.
            steps: Mini-batches of an epoch.
            schedule: The schedule of the rates in question, the run's where left out.

        Returns:
            The number by which rates are multiplied.
        """
        number, rise = epoch * steps + step, self.warmup * steps
        done = max(0.0, number - rise) / (self.epochs * steps - rise)
        falls = parse_schedule(self.schedule if schedule is None else schedule).factor(done)
        return falls * warmed(number, rise) * drop_factor(self.drops, epoch)

    def to_dict(self) -> dict[str, Any]:
        """The settings, ready for JSON; `settings_from_dict` reads them back.

        Returns:
            A dict of all settings by their names, lists in place of tuples.
        """
        plain = dataclasses.asdict(self)
        lists: dict[str, Any] = {
            "drops": [list(drop) for drop in self.drops], "column_rates": list(self.column_rates),
            "freeze": list(self.freeze),
        }  # fmt: skip
        if not isinstance(self.class_weights, str):
            lists["class_weights"] = list(self.class_weights)
        return {**plain, **lists, "layer_rules": [list(rule) for rule in plain["layer_rules"]]}


def by_present_names(data: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in a file of `Settings.to_dict`, by their present names."""
    return {_FORMER.get(name, name): value for name, value in data.items()}


def settings_from_dict(data: dict[str, Any]) -> Settings:
    """The settings that `Settings.to_dict` wrote, of this version or an earlier one."""
    drops = tuple((epoch, factor) for epoch, factor in data["drops"])
    rules = tuple((layer, LayerRule(**rule)) for layer, rule in data.get("layer_rules", ()))
    weights = data.get("class_weights", ())
    data = by_present_names(data)
    return Settings(**{
        **data, "drops": drops, "column_rates": tuple(data["column_rates"]), "layer_rules": rules,
        "freeze": tuple(data.get("freeze", ())), "class_weights": weights if isinstance(weights, str) else tuple(weights),
    })  # fmt: skip


RATES = ("rate", "bias_rate")


def differences(before: Settings, now: Settings, *, new_rates: bool = False) -> list[str]:
    """The reasons why a run with `before` cannot go on with `now`, one text for each setting; empty where it can.

    More epochs are allowed where the rates do not depend on their number. new_rates: whether other rates are allowed.
    """
    found = []
    for field in dataclasses.fields(Settings):
        old, new = getattr(before, field.name), getattr(now, field.name)
        grows = field.name == "epochs" and new > old and now.constant
        if old != new and not grows and not (new_rates and field.name in RATES):
            found.append(f"{field.name} was {old!r} and is {new!r}")
    return found


def _require_not_negative(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{name} must be finite and not negative, got {value!r}")
