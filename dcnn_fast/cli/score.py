"""`dcnn-fast score`: the command; `score_options` has its options, `score_run` does the work."""

from __future__ import annotations

import typer

from dcnn_fast.cli.options import takes
from dcnn_fast.cli.score_options import ScoreOptions


@takes(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Rate images: P(high) averaged over random samples, with a ranked table at the end.

    Nothing that is not the program's own is ever replaced, and no file that is an input, but for the stars that --xmp merges
    into sidecars and --embed into JPEG files. Beside each CSV or JSONL file NAME stands NAME.run.json, which says what decided
    the scores; --resume goes on only with the same model and settings.

    Exit status: 0 when every image was scored; 1 when some could not be read (each is named with its reason) or none was
    found; 2 for a wrong call; 3 when an output could not be written, a photograph's stars among them, or a photograph not
    copied, linked or moved (it is named; the others are whole); 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP: files
    written so far are valid then, and --resume goes on. A second signal ends the run at once.
    """
    from dcnn_fast.cli.score_run import run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    raise typer.Exit(run(options))
