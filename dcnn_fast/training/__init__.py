"""Training: the run from data to model files, cuda-convnet's update rule, and the loop that made the shipped model."""

from dcnn_fast import former
from dcnn_fast.training.checkpoint import CheckpointError
from dcnn_fast.training.fitting import Batch, fit
from dcnn_fast.training.schedule import Schedule, parse_drops, parse_schedule
from dcnn_fast.training.settings import Settings
from dcnn_fast.training.trainer import DivergedError, Outcome, train
from dcnn_fast.training.update_rule import ConvNetUpdate, groups_of
from dcnn_fast.training.workers import WorkerError

__all__ = [
    "Batch",
    "CheckpointError",
    "ConvNetUpdate",
    "DivergedError",
    "Outcome",
    "Schedule",
    "Settings",
    "WorkerError",
    "fit",
    "groups_of",
    "parse_drops",
    "parse_schedule",
    "train",
]

__getattr__ = former.names(__name__, {})
