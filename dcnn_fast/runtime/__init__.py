"""Executes networks, from planes and plans to probabilities, on the cpu and on a GPU."""

from dcnn_fast.runtime.column import averaged, column_maps, head_rows
from dcnn_fast.runtime.cpu import with_bf16_layers
from dcnn_fast.runtime.executor import Executor, Intake, Job, Maps, PhotoJob, PlaneJob, require_kind
from dcnn_fast.runtime.make import executor_of, head_problem

__all__ = [
    "Executor", "Intake", "Job", "Maps", "PhotoJob", "PlaneJob", "averaged", "column_maps", "executor_of",
    "head_problem", "head_rows", "require_kind", "with_bf16_layers",
]  # fmt: skip
