"""Properties of photographs that follow from pixels alone: technical faults and near-duplicates."""

from dcnn_fast.photographs.faults import FAULTS, Found, find_faults
from dcnn_fast.photographs.groups import SAME_SCORE, Member, best_of, groups_of
from dcnn_fast.photographs.look import Look, look_at

__all__ = ["FAULTS", "SAME_SCORE", "Found", "Look", "Member", "best_of", "find_faults", "groups_of", "look_at"]
