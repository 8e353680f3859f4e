"""Commands whose options are the fields of one frozen record.

A field is an option: its name, type and default, with typer's Option (or Argument) for its range, its unit and its help:

    samples: Annotated[int, typer.Option(min=1, help="Samples averaged for each image.")] = 50

A field whose type is itself such a record is a group of options, which `Panel` gives a title in `--help`. A field of type
tuple[str, ...] is an option that may be given several times. So an option is named once, where it is declared, and code that
needs it takes the record.
"""

from __future__ import annotations

import copy
import inspect
import typing
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import MISSING, Field, dataclass, fields, is_dataclass
from functools import wraps
from typing import Annotated, Any, TypeVar

import typer
from typer.models import ArgumentInfo

Record = TypeVar("Record")


@dataclass(frozen=True)
class Panel:
    """Annotates a group's type: the title of its options in `--help`, and the options that a command leaves out.

    without: names of the fields left out; these keep their defaults.
    """

    title: str
    without: tuple[str, ...] = ()


def takes(record: type[Record], *, without: Collection[str] = ()) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Decorate a command: typer sees the record's fields as options, the function gets the record.

    The function takes the record, or typer's context and the record. without: names of fields, groups among them, that are not
    options of this command; these keep their defaults. Raises TypeError where two fields have one name.
    """

    def decorated(function: Callable[..., None]) -> Callable[..., None]:
        context = [inspect.Parameter("ctx", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)]
        wanted = context if len(inspect.signature(function).parameters) > 1 else []

        @wraps(function)
        def command(**given: Any) -> None:
            before = [given.pop("ctx")] if wanted else []
            function(*before, record_of(record, given))

        shown = [*wanted, *_parameters(record, None, frozenset(without))]
        command.__signature__ = inspect.Signature(shown)  # type: ignore[attr-defined]
        command.__annotations__ = {}  # typer then takes them from the signature
        return command

    return decorated


def record_of(record: type[Record], given: Mapping[str, Any]) -> Record:
    """The record whose options, including those of groups, have the values in `given`, or else their defaults.

    An option that a group's `Panel` leaves out keeps its default, even if the command has another option of that name.
    """
    values = {}
    for field, annotation in _annotated(record):
        if _is_group(annotation):
            kind, panel = typing.get_args(annotation)[:2]
            values[field.name] = record_of(kind, {name: given[name] for name in given if name not in panel.without})
        elif field.name in given:
            value = given[field.name]
            values[field.name] = tuple(value or ()) if _is_repeated(annotation) else value
    return record(**values)


def values_of(record: Any, *, without: Collection[str] = ()) -> dict[str, Any]:
    """The values of a record's options by name, including those of its groups.

    without: names of fields to leave out, in addition to those that a group's `Panel` leaves out.
    """
    found: dict[str, Any] = {}
    for field, annotation in _annotated(type(record)):
        value = getattr(record, field.name)
        if _is_group(annotation):
            found |= values_of(value, without={*without, *typing.get_args(annotation)[1].without})
        elif field.name not in without:
            found[field.name] = value
    return found


def _annotated(record: type) -> Iterator[tuple[Field[Any], Any]]:
    """The fields that are options or groups, with their types and annotations; a command does not see other fields."""
    hints = typing.get_type_hints(record, include_extras=True)
    for field in fields(record):
        if typing.get_origin(hints[field.name]) is Annotated:
            yield field, hints[field.name]


def _is_group(annotation: Any) -> bool:
    return is_dataclass(typing.get_args(annotation)[0])


def _is_repeated(annotation: Any) -> bool:
    return bool(typing.get_origin(typing.get_args(annotation)[0]) is tuple)


def _parameters(record: type, panel: str | None, without: frozenset[str]) -> list[inspect.Parameter]:
    found: dict[str, inspect.Parameter] = {}
    for field, annotation in _annotated(record):
        kind, note = typing.get_args(annotation)[:2]
        if _is_group(annotation):
            more = _parameters(kind, note.title, without | set(note.without))
        else:
            more = [] if field.name in without else [_parameter(field, annotation, panel)]
        twice = [each.name for each in more if each.name in found]
        if twice:
            raise TypeError(f"{record.__name__}: {twice[0]} must be one option's name, got it twice")
        found |= {each.name: each for each in more}
    return list(found.values())


def _parameter(field: Field[Any], annotation: Any, panel: str | None) -> inspect.Parameter:
    """The parameter that typer gets for an option: in its own panel if it has one, otherwise in its group's."""
    kind, note = typing.get_args(annotation)[:2]
    default = inspect.Parameter.empty if field.default is MISSING else field.default
    if _is_repeated(annotation):
        kind, default = list[str] | None, None if default == () else default
    note = copy.copy(note)
    if not isinstance(note, ArgumentInfo):
        note.rich_help_panel = note.rich_help_panel or panel
    return inspect.Parameter(field.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, note])
