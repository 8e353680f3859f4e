"""Plans: for a set of windows, the list of regions that each block executes."""

from dcnn_fast.plan.brute import ColumnPlan, brute_force
from dcnn_fast.plan.share import reason, share

__all__ = ["ColumnPlan", "brute_force", "reason", "share"]
