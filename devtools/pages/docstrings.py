"""An extension of griffe: renders docstrings by `devtools.pages.docstring_form`."""

from __future__ import annotations

import griffe

from devtools.pages.docstring_form import rendered


class Docstrings(griffe.Extension):
    """Rewrites the docstrings of functions and classes."""

    def on_function(self, *, func: griffe.Function, **_: object) -> None:
        """Rewrite a function's docstring after it was read."""
        if func.docstring is not None:
            func.docstring.value = rendered(func.docstring.value, [parameter.name for parameter in func.parameters])

    def on_class(self, *, cls: griffe.Class, **_: object) -> None:
        """Rewrite a class's docstring after it was read with its members; fields count as arguments."""
        if cls.docstring is not None:
            made = cls.members.get("__init__")
            arguments = [parameter.name for parameter in made.parameters] if isinstance(made, griffe.Function) else []
            cls.docstring.value = rendered(cls.docstring.value, [*arguments, *cls.members])
