"""Sharing plans a second time, in vectorised numpy: an independent statement that the engine's (csrc/core/plan) are judged by.

They were the package's own until plans were made in C++, and share with that no line.
"""

from tests.plan.reference_plan.cost import costs_of
from tests.plan.reference_plan.share import planned
from tests.plan.reference_plan.tiles import output_tile

__all__ = ["costs_of", "output_tile", "planned"]
