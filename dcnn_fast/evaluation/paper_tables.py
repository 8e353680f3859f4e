"""The paper's figures, in per cent (Tables I to V and section III; docs/paper.md#tables)."""

from __future__ import annotations

from collections.abc import Mapping

VIEWS = {"local": "l_r", "warp": "g_w", "center": "g_c", "pad": "g_p"}  # ours and the paper's names

# Accuracy by architecture, on local views.
TABLE_1: Mapping[int, float] = {1: 71.20, 2: 60.25, 3: 62.68, 4: 65.14, 5: 70.52, 6: 62.49, 7: 70.93}
# Accuracy by delta and view.
TABLE_2: Mapping[tuple[int, str], float] = {
    (0, "local"): 71.20, (0, "warp"): 67.79, (0, "center"): 65.48, (0, "pad"): 60.43,
    (1, "local"): 68.63, (1, "warp"): 68.11, (1, "center"): 69.67, (1, "pad"): 70.50,
}  # fmt: skip
# Accuracy by method and delta; the pairs of views and the quad-column are in the text (III-B).
TABLE_3: Mapping[tuple[str, int], float] = {
    ("SCNN", 0): 71.20, ("SCNN", 1): 68.63, ("AVG_SCNN", 0): 69.91, ("AVG_SCNN", 1): 71.26,
    ("DCNN", 0): 73.25, ("DCNN", 1): 73.05, ("RDCNN-style", 0): 74.46, ("RDCNN-style", 1): 73.70,
    ("RDCNN-semantic", 0): 75.42, ("RDCNN-semantic", 1): 74.20,
    ("DCNN local+center", 0): 71.80, ("DCNN local+pad", 0): 72.27, ("quad-column", 0): 73.38,
}  # fmt: skip
# mAP and accuracy of styles by architecture.
TABLE_4: Mapping[int, tuple[float, float]] = {
    1: (56.81, 59.89), 2: (52.39, 54.33), 3: (53.19, 55.19), 4: (54.13, 55.77), 5: (53.94, 56.00), 6: (53.22, 57.25),
    7: (47.44, 52.16),
}  # fmt: skip
# AP, mAP and accuracy of styles by view.
TABLE_5: Mapping[str, tuple[float, float, float]] = {
    "local": (56.93, 56.81, 59.89), "warp": (44.52, 47.01, 48.08), "center": (45.74, 48.14, 48.85),
    "pad": (41.78, 44.07, 46.79),
}  # fmt: skip
# Accuracy on AVA's test set after training on IAD, by method and variant (III-F).
IAD: Mapping[tuple[str, str], float] = {
    ("SCNN local", "threshold"): 73.21, ("SCNN warp", "threshold"): 73.65, ("DCNN", "threshold"): 74.60,
    ("SCNN local", "extremes"): 72.11, ("SCNN warp", "extremes"): 72.65, ("DCNN", "extremes"): 72.90,
}  # fmt: skip
