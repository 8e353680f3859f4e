"""Scoring photographs."""

from dcnn_fast.scoring.score import CSV_FIELDS, Score
from dcnn_fast.scoring.scorer import Scorer, shipped_model

__all__ = ["CSV_FIELDS", "Score", "Scorer", "shipped_model"]
