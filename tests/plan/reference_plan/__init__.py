"""Sharing plans in vectorised numpy: an independent statement for the engine's plans (csrc/core/plan).

It shares no code with the engine.
"""

from tests.plan.reference_plan.cost import costs_of
from tests.plan.reference_plan.share import planned
from tests.plan.reference_plan.tiles import output_tile

__all__ = ["costs_of", "output_tile", "planned"]
