"""The photographs of a set that a model has seen."""

from __future__ import annotations

from dcnn_fast.data import DataSet, Example
from dcnn_fast.training.model_history import learnt_by, summary_of


def _example(path, content, label=1):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)
    return Example(path, "good/000.png", label)


def test_another_photograph_of_the_same_name_and_label_is_not_seen(tmp_path):
    trained = _example(tmp_path / "train" / "000.png", b"one picture")
    data = DataSet(("bad", "good"), (trained,), ())
    learnt = learnt_by({"training": {"data": summary_of(data, data.train)}})
    copied = _example(tmp_path / "copy" / "000.png", b"one picture")
    other = _example(tmp_path / "test" / "000.png", b"another picture")
    relabelled = _example(tmp_path / "bad" / "000.png", b"one picture", label=0)
    assert learnt.seen_of(data, [copied, other, relabelled]) == [copied]
