"""Everything that determines a score beside the photograph, as text: rows of two runs are comparable where it is equal."""

from __future__ import annotations

from dcnn_fast.scoring.scorer import Scorer

MODELS_OWN = "the model's"
_SAID = {"--views": "--samples"}  # settings that files and rows' keys have by former names of options


def settings_of(scorer: Scorer) -> dict[str, str]:
    """The options of `dcnn-fast score` that determine a scorer's results, with their values; for the model, its digest."""
    own = scorer.long_side == scorer.model.spec.long_side
    settings = {
        "--model": scorer.model.digest,
        "--views": str(scorer.samples),
        "--grid": str(scorer.grid),
        "--seed": str(scorer.seed),
        "--dtype": scorer.dtype,
        "--long-side": MODELS_OWN if own else str(scorer.long_side),
        "--decode": scorer.decode,
        "--background": bytes(scorer.background).hex(),
    }
    return settings | ({"--faults": "on"} if scorer.extras.faults else {})


def option_of(setting: str) -> str:
    """The option that a setting is said by."""
    return _SAID.get(setting, setting)
