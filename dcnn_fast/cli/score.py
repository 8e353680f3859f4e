"""`dcnn-fast score`: the command; `score_options` has its options, `score_run` does the work."""

from __future__ import annotations

import typer

from dcnn_fast.cli.options import takes
from dcnn_fast.cli.score_options import ScoreOptions


@takes(ScoreOptions)
def score(options: ScoreOptions) -> None:
    """Rate images: P(high) averaged over random samples, with a ranked table at the end.

    Only the program's own files are ever replaced, and never an input, except that --xmp merges stars into sidecars and --embed
    into JPEG files. Beside each CSV or JSONL file NAME stands NAME.run.json, which records the settings behind the scores;
    --resume accepts only the same model and settings.

    Exit status: 0 when every image was scored; 1 when some could not be read (each is named with its reason) or none was
    found; 2 for a wrong call; 3 when an output, including a photograph's stars, could not be written or a photograph could not
    be copied, linked or moved (it is named; the others are complete); 130 when interrupted, 143 by SIGTERM, 129 by SIGHUP: the
    files written so far are then valid, and --resume continues them. A second signal ends the run at once.
    """
    from dcnn_fast.cli.score_run import run  # noqa: PLC0415 - keeps `dcnn-fast --help` fast

    raise typer.Exit(run(options))
