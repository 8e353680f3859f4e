"""Options that are fields of one record: their values in the command, their text in `--help`, their place in a file."""

from __future__ import annotations

from dataclasses import dataclass, field
from inspect import signature
from typing import Annotated, get_args, get_type_hints

import pytest
import typer
from typer.models import OptionInfo
from typer.testing import CliRunner

from dcnn_fast.cli.adapt import AdaptOptions
from dcnn_fast.cli.main import app
from dcnn_fast.cli.options import Panel, record_of, takes, values_of
from dcnn_fast.cli.score_options import ScoreOptions
from dcnn_fast.cli.train_options import TrainOptions


@dataclass(frozen=True, kw_only=True)
class Cut:
    """A group of options."""

    side: Annotated[int, typer.Option(min=1, help="Side of the windows, in pixels.")] = 3
    grid: Annotated[int, typer.Option(help="Windows lie at multiples of this.")] = 1


@dataclass(frozen=True, kw_only=True)
class Options:
    """A command's options."""

    paths: Annotated[tuple[str, ...], typer.Argument(help="Photographs.")]
    name: Annotated[tuple[str, ...], typer.Option(help="A name; may be given several times.")] = ()
    cut: Annotated[Cut, Panel("The windows", without=("grid",))] = field(default_factory=Cut)
    said: bool = False  # no option


def called(record, *arguments, **options):
    """The arguments that a command's function got, and the command's output."""
    got, command = [], typer.Typer()
    command.command()(takes(record, **options)(lambda found, /: got.append(found)))
    return got, CliRunner().invoke(command, arguments, env={"COLUMNS": "120"})


def test_a_command_gets_its_options_as_one_record():
    got, result = called(Options, "a.jpg", "b.jpg", "--side", "5", "--name", "x", "--name", "y")
    assert result.exit_code == 0, result.output
    assert got == [Options(paths=("a.jpg", "b.jpg"), name=("x", "y"), cut=Cut(side=5))]
    assert called(Options, "a.jpg")[0] == [Options(paths=("a.jpg",))]


def test_what_is_wrong_is_refused_by_its_name():
    for arguments in ((), ("a.jpg", "--side", "0"), ("a.jpg", "--grid", "2"), ("a.jpg", "--said")):
        got, result = called(Options, *arguments)
        assert result.exit_code == 2 and got == [], arguments
        assert (arguments[1] if arguments else "paths") in result.output


def test_a_group_has_a_panel_of_its_own_and_only_the_options_of_the_command():
    _, result = called(Options, "--help")
    before, _, panel = result.output.partition("The windows")
    assert "--name" in before and "--side" in panel and "--grid" not in result.output
    got, result = called(Options, "a.jpg", "--name", "x", without=("name",))
    assert result.exit_code == 2 and got == []


def test_what_a_group_leaves_out_may_be_another_options_name():
    @dataclass(frozen=True, kw_only=True)
    class Own:
        grid: Annotated[int, typer.Option(help="Photographs across.")] = 2
        cut: Annotated[Cut, Panel("The windows", without=("grid",))] = field(default_factory=Cut)

    globals()["Own"] = Own
    got, result = called(Own, "--grid", "5")
    assert result.exit_code == 0, result.output
    assert got == [Own(grid=5, cut=Cut(grid=1))] and values_of(got[0]) == {"grid": 5, "side": 3}


def test_two_options_of_one_name_are_refused():
    @dataclass(frozen=True, kw_only=True)
    class Twice:
        one: Annotated[Cut, Panel("One")] = field(default_factory=Cut)
        two: Annotated[Cut, Panel("Two")] = field(default_factory=Cut)

    globals()["Twice"] = Twice
    with pytest.raises(TypeError, match="Twice: side must be one option's name"):
        takes(Twice)(lambda found: None)


@pytest.mark.parametrize("record", [TrainOptions, AdaptOptions, ScoreOptions])
def test_values_by_name_make_the_record_again(record):
    """A run's file of options and the command line are read by way of one record."""
    needed = dict.fromkeys(("model", "data", "out"), "x")
    made = record_of(record, {**needed, "views": "local", "field": ["rating=mean"], "seed": 7, "device": "cuda", "xmp": True})
    values = values_of(made)
    assert record_of(record, values) == made
    assert values["seed"] == 7 and values["device"] == "cuda"
    assert values.get("field") in (None, ("rating=mean",))


def test_adapt_has_no_option_that_it_does_not_show():
    values = values_of(record_of(AdaptOptions, {"model": "m", "data": "d", "out": "o"}))
    assert not {"by", "variant", "tensorboard", "features", "plane_cache"} & set(values)


PANELS = {
    "train": ("The network", "The data set", "Learning", "The update rule", "The machine"),
    "adapt": ("The data set", "Learning", "The machine"),
    "crossval": ("The network", "The data set", "Learning", "The update rule", "The machine"),
    "score": ("Photographs", "Files that are written", "Scoring", "The machine"),
    "evaluate": ("The data set", "Measures", "Scoring", "Files that are written"),
    "reproduce": ("The data set", "Learning", "Sizes", "Testing", "The machine"),
    "serve": ("Listening", "Scoring", "Limits", "Culling"),
}


@pytest.mark.parametrize("command", PANELS)
def test_help_is_in_panels(command):
    result = CliRunner().invoke(app, [command, "--help"], env={"COLUMNS": "120"})
    titles = [line.strip("╭─╮ ") for line in result.output.splitlines() if line.startswith("╭")]
    assert [title for title in titles if title in PANELS[command]] == list(PANELS[command])


def _commands(of=app):
    """Every command, including those in groups, with its function."""
    for each in of.registered_commands:
        yield each.name or each.callback.__name__, each.callback
    for group in of.registered_groups:
        yield from ((f"{group.name} {name}", function) for name, function in _commands(group.typer_instance))


@pytest.mark.parametrize(("name", "function"), [pytest.param(*each, id=each[0]) for each in _commands()])
def test_every_command_has_its_options_from_a_frozen_record_and_many_in_panels(name, function):
    record = list(get_type_hints(function.__wrapped__).values())[-2]  # before the result; after the context, where there is one
    assert record.__dataclass_params__.frozen, name
    bare = [each.name for each in signature(function).parameters.values() if _without_panel(each)]
    assert len(bare) <= 6, f"{name}: more than six options in no panel: {bare}"


def _without_panel(parameter):
    notes = get_args(parameter.annotation)
    return any(isinstance(note, OptionInfo) and note.rich_help_panel is None for note in notes)
