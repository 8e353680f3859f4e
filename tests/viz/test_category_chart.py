"""The picture of accuracies by category: the meaning of a bar."""

from __future__ import annotations

import numpy as np
from PIL import Image

from dcnn_fast.viz.category_chart import save_category_chart


def picture(bars, path):
    save_category_chart(bars, path)
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_an_accuracy_shows_in_the_picture(tmp_path):
    bars = {(c, m, w): (60.0, 55.0) for c in ("animal", "floral") for m in ("SCNN", "DCNN") for w in ("cats", "adapt")}
    plain = picture(bars, tmp_path / "a.png")
    higher = picture({**bars, ("floral", "DCNN", "adapt"): (90.0, 55.0)}, tmp_path / "b.png")
    rows, cols = np.nonzero((plain != higher).any(axis=2))
    assert rows.min() > len(plain) // 2 and cols.min() > plain.shape[1] // 2  # the second network, the second category
    without = picture({key: value for key, value in bars.items() if key != ("floral", "DCNN", "adapt")}, tmp_path / "c.png")
    assert (without != plain).any()


def test_a_drawing_is_written_where_the_path_asks_for_one(tmp_path):
    save_category_chart({("animal", "DCNN", "cats"): (60.0, 55.0)}, tmp_path / "chart.svg")
    assert "<svg" in (tmp_path / "chart.svg").read_text()
