"""Checks of the committed results before a release: `make release-check`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bench import readme, sources
from bench import result as results
from bench.result import Result


def refusals(found: Mapping[str, Result], section: str, root: Path = sources.ROOT) -> list[str]:
    """A sentence for each obstacle. found: results by their paths. section: the one in docs/performance.md."""
    said = [] if found else ["bench/results holds no results"]
    for file, result in found.items():
        changed = result.changed(root)
        said += [f"{file}: the figures of {suite} are stale (changed: {', '.join(what)})" for suite, what in changed.items()]
        said += [f"{file}: {line}" for line in (*result.refused, *result.failed, *result.unjudged)]
    if found and not any(result.whole for result in found.values()):
        said.append("no file in bench/results is of the whole benchmark: run `python -m bench --out bench/results/NAME.json`")
    if found and not said and section != readme.section(found, []):
        said.append("docs/performance.md is not of these results: run `python -m bench.readme`")
    return said


def main(root: Annotated[Path, typer.Option(help="The project's folder.")] = sources.ROOT) -> None:
    """Exit with 1, naming them, where committed results are stale, not whole, or not what docs/performance.md says."""
    try:
        found = readme.named(results.committed(root / "bench" / "results"), root)
        said = refusals(found, readme.section_of((root / readme.PAGE).read_text()), root)
    except (OSError, ValueError) as error:
        said = [str(error)]
    for line in said:
        typer.echo(f"not to be released: {line}", err=True)
    raise typer.Exit(int(bool(said)))


app = typer.Typer(add_completion=False)
app.command()(main)

if __name__ == "__main__":
    app()
