"""The sections of cuda-convnet's layer files: parsing them, and reading their keys."""

from __future__ import annotations

import configparser
import math
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from dcnn_fast.networks import bounds
from dcnn_fast.networks.convnet_layer import ConvNetError, refuse
from dcnn_fast.printable import quoted, shortened

LONGEST = 2**20
"""Characters of a file; a thousand layers take a tenth of them."""

TRUE, FALSE = ("1", "true", "yes", "on"), ("0", "false", "no", "off")
"""The values of a switch that Python's reader of such files accepts."""


def sections_of(text: str, what: str, notes: list[str] | None = None) -> dict[str, dict[str, str]]:
    """The keys of each section, with the comments and delimiters of Python 2's reader. Raises ConvNetError.

    what: the file's name in errors. notes: receives a note on each repeated key, whose last value counts.
    """
    if len(text) > LONGEST:
        raise ConvNetError(f"{what}: must have at most {LONGEST:,} characters")
    try:
        parser = _parsed(text, strict=True)
    except configparser.DuplicateOptionError as error:
        if notes is not None:
            where = shortened([str(error.section)])
            notes.append(f"[{where}] {shortened([error.option])}: is there more than once; the last one counts")
        parser = _merged(text, what)
    except configparser.Error as error:
        raise ConvNetError(f"{what}: {shortened([' '.join(str(error)[:1000].split())], longest=200)}") from None
    if not parser.sections():
        raise ConvNetError(f"{what}: must have a section for each layer, got none")
    if len(parser.sections()) > bounds.LAYERS:
        raise ConvNetError(f"{what}: must have at most {bounds.LAYERS} layers, got {len(parser.sections())}")
    return {name: dict(parser[name]) for name in parser.sections()}


def _parsed(text: str, *, strict: bool) -> configparser.ConfigParser:
    """strict: a repeated section or key is an error."""
    parser = configparser.ConfigParser(
        comment_prefixes=("#", ";"), inline_comment_prefixes=("#", ";"), delimiters=("=", ":"), interpolation=None,
        default_section="\0", strict=strict,
    )  # fmt: skip
    parser.read_string(text)
    return parser


def _merged(text: str, what: str) -> configparser.ConfigParser:
    """The parsed file; a repeated key is allowed, a repeated section is not."""
    names = re.findall(r"^\[([^\]\n]+)\]", text, re.MULTILINE)
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ConvNetError(f"{what}: section {quoted(twice[0])} already exists")
    try:
        return _parsed(text, strict=False)
    except configparser.Error as error:
        raise ConvNetError(f"{what}: {shortened([' '.join(str(error)[:1000].split())], longest=200)}") from None


class Section:
    """The keys of one layer in both files, each taken once; `finish` refuses those not taken."""

    def __init__(
        self, name: str, keys: dict[str, str], params: dict[str, str] | None, notes: list[str], *, sizes_only: bool = False
    ) -> None:
        self.name, self.keys, self.notes, self.sizes_only = name, keys, notes, sizes_only
        self.params, self.with_params = params or {}, params is not None

    def text(self, key: str, default: str | None = None) -> str:
        """The text of a key of the definitions; an error where it is missing and has no default."""
        return self._take(self.keys, key, default, "layer definitions")

    def integer(self, key: str, default: int | None = None) -> int:
        """A key of the definitions as an integer."""
        return int(self._as(int, "an integer", key, self.text(key, None if default is None else str(default))))

    def number(self, key: str, default: float | None = None) -> float:
        """A key of the definitions as a finite number."""
        return self.parsed(key, self.text(key, None if default is None else repr(default)))

    def parameter(self, key: str, default: float | None = None) -> float:
        """A key of the parameters as a finite number."""
        return self.parsed(key, self._take(self.params, key, None if default is None else repr(default), "layer parameters"))

    def parameter_text(self, key: str, default: str | None = None) -> str:
        """The text of a key of the parameters."""
        return self._take(self.params, key, default, "layer parameters")

    def switch(self, key: str, default: bool) -> bool:
        """Whether a switch is on."""
        return self.on(key, self.text(key, "1" if default else "0"))

    def on(self, key: str, text: str) -> bool:
        """Whether the text of a switch means on."""
        if text.lower() not in (*TRUE, *FALSE):
            raise refuse(self.name, key, f"must be 0, 1, true or false, got {quoted(text)}")
        return text.lower() in TRUE

    def list_of(self, key: str, text: str, count: int) -> list[str]:
        """The entries of a list with one for all of `count` inputs, or one for each."""
        entries = [entry.strip() for entry in text.split(",")]
        if len(entries) == count:
            return entries
        if len(entries) == 1:
            return entries * count
        raise refuse(self.name, key, f"must be the same for all inputs, or one for each of {count}, got {quoted(text)}")

    def integers(self, key: str, count: int, default: int | None = None) -> list[int]:
        """An integer for each of `count` inputs."""
        text = self.text(key, None if default is None else str(default))
        return [int(self._as(int, "an integer", key, entry)) for entry in self.list_of(key, text, count)]

    def must_be_off(self, key: str, why: str) -> None:
        """Refuse a switch that is on."""
        if self.switch(key, False):
            raise refuse(self.name, key, why)

    def must_be_absent(self, key: str, why: str) -> None:
        """Refuse a key that is present."""
        if self.keys.pop(key.lower(), None) or self.params.pop(key.lower(), None):
            raise refuse(self.name, key, why)

    def moot(self, key: str, why: str) -> None:
        """Note a key that changes nothing here."""
        if self.keys.pop(key.lower(), None) is not None:
            self.notes.append(f"[{self.name}] {key}: {why}")

    def belongs_in_parameters(self, *keys: str) -> None:
        """Accept keys in the layer definitions that cuda-convnet reads from the parameters."""
        for key in keys:
            value = self.keys.pop(key.lower(), None)
            if value is not None:
                if key.lower() in self.params:
                    self.notes.append(f"[{self.name}] {key}: is in both files; that of the layer parameters counts")
                    continue
                self.params[key.lower()] = value
                self.notes.append(f"[{self.name}] {key}: belongs in the layer parameters; taken from the layer definitions")

    def finish(self) -> None:
        """Refuse keys that were not taken."""
        for keys, what in ((self.keys, "definitions"), (self.params, "parameters")):
            for key in keys:
                raise refuse(self.name, shortened([key]), f"is no key that a layer of this type has in layer {what}")

    def _take(self, keys: dict[str, str], key: str, default: str | None, what: str) -> str:
        value = keys.pop(key.lower(), default)
        if value is None:
            raise refuse(self.name, key, f"is missing in the {what}")
        return value.strip()

    def _as(self, kind: Callable[[str], Any], what: str, key: str, text: str) -> Any:
        try:
            return kind(text)
        except ValueError:
            raise refuse(self.name, key, f"must be {what}, got {quoted(text)}") from None

    def parsed(self, key: str, text: str) -> float:
        """A text as a finite number."""
        value = float(self._as(float, "a number", key, text))
        if not math.isfinite(value):
            raise refuse(self.name, key, f"must be finite, got {quoted(text)}")
        return value
