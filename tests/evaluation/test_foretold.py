"""Files of predictions beside sets of votes, as people write both: measured as a plain statement says, or refused by name."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from dcnn_fast.data import load_set
from dcnn_fast.evaluation import measure
from dcnn_fast.evaluation.from_file import read_predictions
from dcnn_fast.evaluation.histograms import are_ratings, emd

COUNT = 9
THRESHOLD = 5.5


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("foretold")
    for i in range(COUNT):
        Image.fromarray(np.full((6, 7, 3), 20 * i, np.uint8)).save(place / f"{i}.png")
    return place


@st.composite
def files(draw):
    """Votes and foretold shares, the names of the shares' fields, and the notation of the file."""
    rng = np.random.default_rng(draw(st.integers(0, 10_000)))
    first = draw(st.sampled_from((0, 1, 2)))
    prefix = draw(st.sampled_from(("r", "p_", "vote_", "score", "Share ", "", "f", "feature_")))
    return {
        "votes": rng.integers(1, 50, (COUNT, 10)), "shares": rng.dirichlet(np.ones(10), COUNT), "order": rng.permutation(COUNT),
        "names": [f"{prefix}{number}" for number in range(first, first + 10)], "known": prefix not in ("f", "feature_"),
        "scale": draw(st.sampled_from((1.0, 137.0))), "delimiter": draw(st.sampled_from((",", ";", "\t"))),
        "scores": draw(st.sampled_from((None, "p", "rating", "threshold"))), "error": draw(st.sampled_from((None, "", "0.3"))),
        "missing": draw(st.integers(0, 3)), "fault": draw(st.sampled_from(("", "", "", "negative", "nothing", "a word"))),
    }  # fmt: skip


def written(path, made):
    """The file of predictions, and each photograph's values in it, by the photograph's number."""
    shares = made["shares"] * made["scale"]
    foretold = {int(i): shares[i].copy() for i in made["order"][made["missing"] :]}
    last = list(foretold)[-1]
    if made["fault"] == "negative":
        foretold[last][4] = -1
    if made["fault"] == "nothing":
        foretold[last][:] = 0
    head = ["path", *made["names"], *(["score"] if made["scores"] else []), *(["error"] if made["error"] is not None else [])]
    lines = [head]
    for i, row in foretold.items():
        cells = [f"{value:.12g}" for value in row]
        if made["fault"] == "a word" and i == last:
            cells[3] = "x"
        of = {None: [], "p": [f"{i / 10:g}"], "rating": [f"{2 + i / 2:g}"], "threshold": [f"{THRESHOLD:g}"]}[made["scores"]]
        lines.append([f"{i}.png", *cells, *of, *([made["error"]] if made["error"] is not None else [])])
    path.write_text("\n".join(made["delimiter"].join(line) for line in lines) + "\n")
    return foretold


def distance(votes, shares, power):
    apart = [sum(votes[: i + 1]) / sum(votes) - sum(shares[: i + 1]) / sum(shares) for i in range(10)]
    return (sum(abs(each) ** power for each in apart) / 10) ** (1 / power)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(made=files())
def test_foretold_shares_are_measured_as_they_are_meant_or_refused(folder, made):
    votes = [[f"{i}.png", *made["votes"][i]] for i in range(COUNT)]
    head = ",".join(["path", *(f"r{i}" for i in range(1, 11))])
    (folder / "set.csv").write_text(head + "\n" + "\n".join(",".join(map(str, row)) for row in votes) + "\n")
    data = load_set(folder / "set.csv", threshold=THRESHOLD, unsplit="test")
    assert [example.votes for example in data.test] == [tuple(row[1:]) for row in votes]
    foretold = written(folder / "theirs.csv", made)
    try:
        found = read_predictions(Path(folder / "theirs.csv"), data, data.test).predictions[""]
    except ValueError as error:
        unread = not made["known"] and made["scores"] is None
        assert "theirs.csv: " in str(error) and (unread or (made["known"] and made["fault"])), error
        assert unread or made["fault"] == "" or f"row {len(foretold) + 1} must have" in str(error), error
        return
    assert not (made["known"] and made["fault"]) and set(found.errors) == {
        f"{i}.png" for i in range(COUNT) if i not in foretold
    }
    measures = measure(found)
    numbers = [int(example.key.removesuffix(".png")) for example in found.examples]
    if made["known"]:
        for power, name in ((1, "emd"), (2, "emd_2")):
            mean = sum(distance(made["votes"][i].tolist(), foretold[i].tolist(), power) for i in numbers) / len(numbers)
            assert getattr(measures, name) == pytest.approx(mean, rel=1e-9) == pytest.approx(emd(found, power=power), rel=1e-9)
    else:
        assert measures.emd is None
        with pytest.raises(
            ValueError, match="predictions must be of the ten ratings 1 to 10 for an EMD, got those of low, high"
        ):
            emd(found)
    means = {i: float(np.dot(row, range(1, 11)) / row.sum()) for i, row in foretold.items() if made["scores"] is None}
    high = {
        None: lambda i: means[i] > THRESHOLD, "p": lambda i: i / 10 > 0.5, "rating": lambda i: 2 + i / 2 > THRESHOLD,
        "threshold": lambda i: False,
    }[made["scores"]]  # fmt: skip
    true = [np.dot(made["votes"][i], range(1, 11)) / made["votes"][i].sum() > THRESHOLD for i in numbers]
    assert measures.accuracy == pytest.approx(
        sum(high(i) == right for i, right in zip(numbers, true, strict=True)) / len(numbers)
    )
    assert np.isfinite(found.probs).all() and not math.isnan(measures.accuracy)


def test_labels_that_are_the_ten_ratings():
    for prefix in ("", "r", "rating "):
        assert are_ratings([f"{prefix}{i}" for i in range(1, 11)])
    for labels in ([f"r{i}" for i in range(10)], [f"r{i}" for i in range(1, 10)], [*(f"r{i}" for i in range(1, 10)), "s10"],
                   ["low", "high"], [f"r{i}" for i in range(10, 0, -1)]):  # fmt: skip
        assert not are_ratings(labels)
