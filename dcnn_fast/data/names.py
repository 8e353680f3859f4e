"""The names that AVA's files go by (facts from its README and lists)."""

from __future__ import annotations

CATEGORIES = ("animal", "architecture", "cityscape", "floral", "fooddrink", "landscape", "portrait", "stilllife")
LISTS, STYLE_LISTS = "aesthetics_image_lists", "style_image_lists"
