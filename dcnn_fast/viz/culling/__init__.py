"""The culling page: photographs best first, to be sorted, filtered, looked at, and chosen from by keys."""

from dcnn_fast.viz.culling.page import Entry, culling_page

__all__ = ["Entry", "culling_page"]
