"""The sets that the networks of the paper's tables learn from and are tested on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class TableSet:
    """A set by what its labels are, and which photographs it has. `str` of it is in the names of the runs that learn from it.

    task: "aesthetics", "style", "category" (the aesthetic labels of one category's photographs), "shown" (the categories
    themselves) or "iad". delta: of the aesthetic labels. category: the one of "category". variant: how IAD is split. is_test:
    IAD as it is tested. is_apart: styles, without the photographs of the aesthetic labels' test set.
    """

    task: Literal["aesthetics", "style", "category", "shown", "iad"] = "aesthetics"
    delta: int = 0
    category: str = ""
    variant: str = "threshold"
    is_test: bool = False
    is_apart: bool = False

    def __str__(self) -> str:
        more = {
            "aesthetics": str(self.delta or ""),
            "style": "without the aesthetics test set" if self.is_apart else "",
            "category": self.category,
            "iad": "test" if self.is_test else self.variant,
        }
        return f"{self.task} {more.get(self.task, '')}".rstrip()


AESTHETICS, STYLE, STYLE_APART = TableSet(), TableSet("style"), TableSet("style", is_apart=True)
SHOWN, IAD_TEST = TableSet("shown"), TableSet("iad", is_test=True)
