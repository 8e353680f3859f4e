"""Numbers outside their range: one line names the option and the range, in every command with that option."""

from __future__ import annotations

import pytest

from tests.cli.command import run

SEED = "must be an integer from 0 to 9223372036854775807"
COMMANDS = {
    "score": ("x.jpg",),
    "evaluate": ("m.safetensors", "d.csv"),
    "plan": ("x.jpg",),
    "train": ("d.csv", "--out", "o"),
    "adapt": ("m.safetensors", "d.csv", "--out", "o"),
    "reproduce": ("table2", "d", "--out", "o"),
    "data make": ("csv", "o"),
}  # none of these files exists: a wrong number is reported before anything is read
OPTIONS = {
    "--seed": (SEED, (-1, 2**63), tuple(COMMANDS)),
    "--split-seed": ("must be an integer from 0 to 4294967295", (-1, 2**32), ("train", "adapt", "evaluate")),
    "--workers": ("must be an integer from 0 to 256", (-1, 257, 100_000), ("train", "adapt", "reproduce")),
}


@pytest.mark.parametrize("option", [*OPTIONS, "--workers of score"])
def test_a_number_outside_its_range_is_one_line_that_names_the_option(option, tmp_path):
    name = option.split()[0]
    said, values, commands = OPTIONS.get(option, ("must be an integer from 1 to 256", (0, 100_000), ("score",)))
    for number, command in enumerate(commands):
        value = values[number % len(values)]  # each command once: a process takes seconds
        found = run(*command.split(), *COMMANDS[command], f"{name}={value}", cwd=tmp_path)
        assert found.returncode == 2, (command, found.stderr)
        assert found.stderr == f"error: {name} {said}, got {value}\n" and not found.stdout, (command, found.stderr)
    assert not list(tmp_path.iterdir())


def test_the_ends_of_a_range_are_taken(tmp_path):
    """The remaining error is another one."""
    for command, option, value in (
        ("train", "--seed", 2**63 - 1),
        ("evaluate", "--split-seed", 2**32 - 1),
        ("score", "--workers", 256),
        ("adapt", "--workers", 0),
    ):
        found = run(command, *COMMANDS[command], option, value, cwd=tmp_path)
        assert option not in found.stderr and found.returncode != 0, (command, found.stderr)
