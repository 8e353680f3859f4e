"""Commands that take options by their former names too, for this release, with a note (docs/glossary.md#former-names)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from typer.core import TyperCommand, TyperOption

from dcnn_fast.cli.console import note

OPTIONS: Mapping[str, str] = {
    "--views": "--samples", "--test-views": "--test-samples", "--draws": "--resamples", "--column": "--field",
}  # fmt: skip
"""Former names of options, and the names that they have now. A command that has its own option of a former name keeps it."""

_CALLED = "is called {}: the former name goes with the next release"


class Command(TyperCommand):
    """A command of `dcnn-fast`."""

    def make_parser(self, ctx: Any) -> Any:
        """As of the class; what is given by a former name goes to the option as it is called now."""
        parser = super().make_parser(ctx)
        former = dict(self._former())
        for old, option in former.items():
            action = "append" if option.multiple else "store"
            parser.add_option(obj=option, opts=[old], dest=old, action=action, nargs=option.nargs)
        parse = parser.parse_args

        def parse_args(args: list[str]) -> Any:
            found, left, order = parse(args)
            for old in former.keys() & found.keys():
                _tell(ctx, old)
                _move(found, old, former[old])
            return found, left, order

        parser.parse_args = parse_args  # type: ignore[method-assign]
        return parser

    def _former(self) -> Iterator[tuple[str, TyperOption]]:
        options = {name: each for each in self.params if isinstance(each, TyperOption) for name in each.opts}
        for old, new in OPTIONS.items():
            if new in options and old not in options:
                yield old, options[new]


def _tell(ctx: Any, old: str) -> None:
    """Once a call: a command may parse its arguments twice."""
    if not ctx.resilient_parsing and old not in ctx.meta.setdefault("dcnn_fast.former", set()):
        ctx.meta["dcnn_fast.former"].add(old)
        note(f"{old} {_CALLED.format(OPTIONS[old])}")


def _move(found: dict[str, Any], old: str, option: TyperOption) -> None:
    value, name = found.pop(old), str(option.name)
    found[name] = [*value, *found.get(name, ())] if option.multiple else found.get(name, value)


def options_by_name(found: Mapping[str, Any], known: Collection[str]) -> tuple[dict[str, Any], list[str]]:
    """A file's options by the names that they have now, and a remark for each that has its former name there.

    known: the command's options. Where the file has both names, what it says by the present one counts.
    """
    names = {_field(old): _field(new) for old, new in OPTIONS.items() if _field(new) in known and _field(old) not in known}
    before = {names[name]: value for name, value in found.items() if name in names}
    now = {name: value for name, value in found.items() if name not in names}
    return {**before, **now}, [f"{old} {_CALLED.format(new)}" for old, new in names.items() if old in found]


def _field(option: str) -> str:
    return option.removeprefix("--").replace("-", "_")
