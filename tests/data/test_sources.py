"""Data sets as records: each kind opens as it does by path, and an option that it lacks is refused by name."""

from __future__ import annotations

import dataclasses

import pytest

from dcnn_fast.data import Ava, AvaStyle, Csv, Folders, Iad, load_set, open_dataset, source_at, synthetic
from dcnn_fast.data.sources import SOURCES, SourceOptions
from dcnn_fast.data.splits import Parts

OF_KIND = {"ava": Ava, "iad": Iad, "folders": Folders, "csv": Csv}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A set of each kind."""
    root = tmp_path_factory.mktemp("sources")
    return {kind: synthetic.make(kind, root / kind, images=64, seed=3, sides=(20, 30)) for kind in OF_KIND}


@pytest.mark.parametrize("kind", OF_KIND)
def test_a_source_opens_what_lies_at_its_path(made, kind):
    parts = Parts(val=0.2, seed=5)
    source = OF_KIND[kind](made[kind], parts=parts)
    assert source == source_at(made[kind], val=0.2, seed=5) and hash(source)
    assert open_dataset(source) == load_set(made[kind], val=0.2, seed=5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        source.path = made["csv"]


def test_styles_are_a_source_of_their_own(made):
    assert open_dataset(AvaStyle(made["ava"])) == load_set(made["ava"], "ava-style")


def test_what_a_kind_does_not_have_is_refused_by_its_name(made, tmp_path):
    with pytest.raises(ValueError, match="threshold must not be given for a set of kind folders, got 5"):
        source_at(made["folders"], threshold=5)
    assert source_at(made["folders"], threshold=None, delta=0.0) == Folders(made["folders"])
    with pytest.raises(TypeError, match="got 'thresh'"):
        source_at(made["csv"], thresh=5)
    with pytest.raises(TypeError, match="one of attributes, by, .*, images, positive, .*; got 'parts'"):
        source_at(made["csv"], parts=Parts(fold=1))
    with pytest.raises(TypeError, match="delta"):
        Csv(made["csv"], delta=1.0)
    for wrong, refusal in {
        Ava(made["ava"], parts=Parts(fold=1)): "fold must not be given for a set of kind ava, got 1",
        Ava(made["ava"], parts=Parts(seed=1)): "seed must not be given for a set of kind ava, got 1",
        Csv(made["csv"], parts=Parts(seed=-1)): "seed must be an integer from 0 to",
        Csv(made["csv"], by="category", threshold=4.0): "threshold must not be given for labels by category",
        Csv(made["csv"], by="colour"): "by must be one of quality, category",
        Folders(made["csv"]): "path must be a folder for a set of kind folders",
        Iad(tmp_path): "path must be a file for a set of kind iad",
    }.items():
        with pytest.raises(ValueError, match=refusal):
            open_dataset(wrong)


@pytest.mark.parametrize("kind", OF_KIND)
def test_a_path_may_be_text(made, kind):
    source = OF_KIND[kind](str(made[kind]))
    assert source == OF_KIND[kind](made[kind]) and source.path == made[kind]
    assert open_dataset(source) == load_set(str(made[kind]))


def test_the_place_of_photographs_may_be_text_and_what_is_no_path_is_refused_by_its_name(made, tmp_path):
    assert Csv(made["csv"], images=str(tmp_path)) == Csv(made["csv"], images=tmp_path)
    assert source_at(made["csv"], images=str(tmp_path)) == Csv(made["csv"], images=tmp_path)
    for wrong in (5, None, b"ratings.csv", ["ratings.csv"]):
        with pytest.raises(TypeError, match=f"path must be a path or its text, got {type(wrong).__name__}"):
            Csv(wrong)
    with pytest.raises(TypeError, match="images must be a path or its text, got int"):
        Csv(made["csv"], images=3)
    with pytest.raises(ValueError, match="path must be a file for a set of kind csv, got nowhere.csv"):
        open_dataset(Csv("nowhere.csv"))


def test_the_typed_options_are_the_fields_of_the_sources_and_of_their_parts():
    of_sources = {field.name for each in SOURCES.values() for field in dataclasses.fields(each)} - {"path", "parts"}
    assert set(SourceOptions.__annotations__) == of_sources | {field.name for field in dataclasses.fields(Parts)}
