"""Attacks one target, for `python -m fuzz`: `python -m fuzz.one NAME CORPUS FINDINGS [libFuzzer's options]`.

With atheris, coverage guides: inputs that reach new code are added to CORPUS, failing inputs to FINDINGS. Without it, CORPUS is
replayed once. The exit status is 0 where nothing was found.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from random import Random
from types import FunctionType

from fuzz.target import SOURCES, Target, attack, load


def inputs(corpus: Path) -> list[Path]:
    """The files of a corpus, sorted by name."""
    return sorted(path for path in corpus.iterdir() if path.is_file())


def replay(target: Target, files: Iterable[Path]) -> list[Path]:
    """The failing files; prints each one's traceback on standard error."""
    wrong = []
    for file in files:
        try:
            attack(target, file.read_bytes())
        except Exception:
            print(f"{file}:\n{traceback.format_exc()}", file=sys.stderr)
            wrong.append(file)
    return wrong


def functions_of(prefixes: tuple[str, ...]) -> list[FunctionType]:
    """The functions and methods of imported modules with these names, or within packages with these names."""
    found: dict[int, FunctionType] = {}
    for module_name, module in list(sys.modules.items()):
        if not any(module_name == prefix or module_name.startswith(f"{prefix}.") for prefix in prefixes):
            continue
        for value in vars(module).values():
            members = vars(value).values() if isinstance(value, type) else [value]
            for member in members:
                plain = (
                    getattr(member, "__func__", None)
                    or getattr(member, "fget", None)
                    or getattr(member, "func", None)
                    or member
                )
                plain = inspect.unwrap(plain) if callable(plain) else plain
                if isinstance(plain, FunctionType) and plain.__module__ == module_name:
                    found[id(plain)] = plain
    return list(found.values())


def _guided(name: str, arguments: list[str]) -> None:
    import atheris  # noqa: PLC0415 - is not everywhere

    target = load(name)
    # After the import: atheris's import hook takes whole packages, and misses those of an editable install.
    for function in functions_of(SOURCES[name]):
        atheris.instrument_func(function)

    def one(data: bytes) -> None:
        attack(target, data)

    def mutated(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        if target.mutated is None or random.random() < 0.3:
            return bytes(atheris.Mutate(data, longest))
        return target.mutated(data, longest, random)[:longest]

    mutator = {} if target.mutated is None else {"custom_mutator": mutated}
    atheris.Setup([f"fuzz.{name}", f"-max_len={target.longest}", *arguments], one, **mutator)
    atheris.Fuzz()


def main(arguments: list[str]) -> int:
    name, corpus, findings, *rest = arguments
    if find_spec("atheris"):
        _guided(name, [f"-artifact_prefix={findings}/", corpus, *rest])  # new inputs go to the first folder
    files = inputs(Path(corpus))
    wrong = replay(load(name), files)
    for file in wrong:
        (Path(findings) / f"replayed-{file.name}").write_bytes(file.read_bytes())
    print(f"Went through {len(files)} inputs")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
