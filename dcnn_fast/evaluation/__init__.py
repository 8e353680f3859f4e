"""How well scores agree with people's ratings."""

from dcnn_fast.evaluation.metrics import Agreement, agreement

__all__ = ["Agreement", "agreement"]
