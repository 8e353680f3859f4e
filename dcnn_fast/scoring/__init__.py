"""Scoring photographs."""

from dcnn_fast.nets import WeightsError
from dcnn_fast.scoring.collection import completed
from dcnn_fast.scoring.score import CSV_FIELDS, Score
from dcnn_fast.scoring.scorer import Scorer
from dcnn_fast.scoring.shipped import shipped_model
from dcnn_fast.scoring.stream import WAITING, Waiting

__all__ = ["CSV_FIELDS", "WAITING", "Score", "Scorer", "Waiting", "WeightsError", "completed", "shipped_model"]
