"""The culling page: photographs best first, to be sorted, filtered, looked at, and chosen from by keys."""

from dcnn_fast.viz.culling.heat import Heat
from dcnn_fast.viz.culling.page import Entry, culling_page

__all__ = ["Entry", "Heat", "culling_page"]
