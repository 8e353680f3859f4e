"""The names that AVA's files go by (facts from its README and lists)."""

from __future__ import annotations

CATEGORIES = ("animal", "architecture", "cityscape", "floral", "fooddrink", "landscape", "portrait", "stilllife")
STYLES = (
    "Complementary_Colors", "Duotones", "HDR", "Image_Grain", "Light_On_White", "Long_Exposure", "Macro", "Motion_Blur",
    "Negative_Image", "Rule_of_Thirds", "Shallow_DOF", "Silhouettes", "Soft_Focus", "Vanishing_Point",
)  # fmt: skip
LISTS, STYLE_LISTS = "aesthetics_image_lists", "style_image_lists"
