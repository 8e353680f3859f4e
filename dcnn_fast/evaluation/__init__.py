"""How well a model's predictions agree with labels and ratings."""

from dcnn_fast.evaluation.metrics import AVERAGE_PRECISIONS, Measures, average_precisions, intervals, measure
from dcnn_fast.evaluation.predict import Predictions, average, predict
from dcnn_fast.evaluation.routing import routed

__all__ = [
    "AVERAGE_PRECISIONS", "Measures", "Predictions", "average", "average_precisions", "intervals", "measure", "predict",
    "routed",
]  # fmt: skip
