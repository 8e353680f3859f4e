"""Plans: for a set of windows, the list of regions that each block executes."""

from dcnn_fast.plan.brute import FIXED, ColumnPlan, brute_force, fixed
from dcnn_fast.plan.share import reason, share

__all__ = ["FIXED", "ColumnPlan", "brute_force", "fixed", "reason", "share"]
