"""Options from a file: `--config`, or for a resumed run the options that it was started with."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from dcnn_fast.cli.console import fail, note
from dcnn_fast.cli.former import Command, options_by_name
from dcnn_fast.printable import quoted

# Options that decide where a run happens, not its result; a file holds none of them.
PLACE = frozenset(
    ("out", "resume", "config", "device", "workers", "cache", "max_memory", "tensorboard", "features", "plane_cache",
     "plane_cache_size", "help")
)  # fmt: skip
_FILES = ("data", "images", "layer_params", "model")


class Configured(Command):
    """A command whose options may come from a file: the command line takes precedence, then the file, then the defaults."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line, with the file's options as the defaults."""
        given, _, _ = self.make_parser(ctx).parse_args(args=list(args))
        if not given.get("help"):
            ctx.default_map = self._defaults(given)
        return super().parse_args(ctx, args)

    def _defaults(self, given: Mapping[str, Any]) -> dict[str, Any]:
        from dcnn_fast.training.folder import OPTIONS  # noqa: PLC0415 - imports torch

        config, before = given.get("config"), os.path.join(str(given.get("out") or ""), OPTIONS)
        if given.get("resume") and config:
            fail("config must not be given with resume, which goes on with the run's own options")
        if given.get("resume") and os.path.isfile(before):
            config = before
        return {} if config is None else self._read(Path(config), resumed=bool(given.get("resume")))

    def _read(self, path: Path, *, resumed: bool) -> dict[str, Any]:
        from dcnn_fast.training.options import RATES, read_options  # noqa: PLC0415 - imports torch

        try:
            found = read_options(path)
        except ValueError as error:
            fail(str(error))
        changed = found.pop(RATES, None)
        if changed is not None and not resumed:
            fail(
                f"{path}: must be of a run at one rate to be had again; this one was resumed with others, "
                f"{RATES} {quoted(changed)} by step"
            )
        known = {str(parameter.name) for parameter in self.params} - PLACE
        found, remarks = options_by_name(found, known)
        for remark in () if resumed else remarks:  # the command itself wrote a resumed run's file
            note(f"{path}: {remark}")
        unknown = [name for name in found if name not in known]
        if unknown:
            fail(f"{path}: must have options of {self.name} that are not of a run's place, got {quoted(unknown[0])}")
        return found


def is_said(ctx: typer.Context, name: str) -> bool:
    """Whether the command line itself sets an option."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def options_of(given: Mapping[str, Any], decided: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an options file for a call, by option: everything that decides the result.

    given: the options as the command has them. decided: the values of options that were left open. Files get absolute paths, so
    that the options can be read from any folder.
    """
    found = {name: value for name, value in {**given, **decided}.items() if name not in PLACE and value not in (None, ())}
    for name in _FILES:
        if name in found:
            found[name] = os.path.abspath(found[name])
    if str(found.get("net", "")).endswith((".cfg", ".safetensors")):
        found["net"] = os.path.abspath(found["net"])
    if found.get("init"):
        found["init"] = [_whole(text) for text in found["init"]]
    return dict(sorted((name, _plain(value)) for name, value in found.items()))


def _whole(text: str) -> str:
    column, _, file = text.partition("=")
    return f"{column}={os.path.abspath(file)}"


def _plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (bool, int, float, str)) else str(value)
