"""The README's table of what is executed for which architecture is that of the tests' kernels."""

from tests.ptxsim import executed


def test_the_table_is_of_the_kernels_that_the_tests_run():
    text = executed.README.read_text()
    assert executed.written(text) == text, "run python -m tests.ptxsim.executed"


def test_a_row_names_what_one_target_has_at_least():
    rows = [line for line in executed.README.read_text().splitlines() if line.startswith("| `")]
    assert rows and all("yes" in line for line in rows if "wgmma" in line or "mma" in line)
