"""Scoring photographs."""

from dcnn_fast.nets import WeightsError
from dcnn_fast.scoring.collection import completed
from dcnn_fast.scoring.score import CSV_FIELDS, Score
from dcnn_fast.scoring.scorer import Scorer
from dcnn_fast.scoring.shipped import shipped_model

__all__ = ["CSV_FIELDS", "Score", "Scorer", "WeightsError", "completed", "shipped_model"]
