"""The README's table of executed instructions per architecture matches the tests' kernels."""

from tests.ptxsim import executed


def test_the_table_is_of_the_kernels_that_the_tests_run():
    text = executed.README.read_text()
    assert executed.written(text) == text, "run python -m tests.ptxsim.executed"


def test_what_no_kernel_has_is_not_said(monkeypatch):
    count, all_of_them = executed.opcodes(90)
    monkeypatch.setattr(executed, "_by_hand", lambda target: [])
    fewer, of_triton = executed.opcodes(90)
    assert count == fewer + 2
    assert any(op.startswith("mbarrier") for op in all_of_them) and not any(op.startswith("mbarrier") for op in of_triton)
    assert any(op.startswith("wgmma.mma_async") for op in of_triton)
