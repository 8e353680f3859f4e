"""mbarriers and bulk copies: the copied data, and a planted bug of each kind beside the kernel without it."""

import numpy as np
import pytest

from ptxsim import SimulationError, UnsupportedInstruction, launch
from tests.ptxsim.kernels import kernel, line_of
from tests.ptxsim.test_warpgroup import assembles
from tests.ptxsim.warpgroups import assembled_for

THREADS, BLOCKS, WORDS = 64, 3, 512  # words of a copy
BYTES = 4 * WORDS

# Barriers lie at s and s + 8, data from s + 1024 on. %p1: thread 0. %rd11, %rd12: this block's words of the arguments.
HEAD = f"""mov.u32 %r6, s;
add.u32 %r7, %r6, 1024;
setp.eq.u32 %p1, %r1, 0;
mul.wide.u32 %rd10, %r2, {BYTES};
add.s64 %rd11, %rd0, %rd10;
add.s64 %rd12, %rd1, %rd10;
shl.b32 %r8, %r1, 2;
add.u32 %r9, %r7, %r8;
mad.wide.u32 %rd13, %r1, 4, %rd12;
"""
INIT = "@%p1 mbarrier.init.shared::cta.b64 [%r6], 1;"
VISIBLE = "@%p1 fence.mbarrier_init.release.cluster;"
BARRIER = "bar.sync 0;"
EXPECT = f"@%p1 mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r6], {BYTES};"
COPY = f"@%p1 cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r7], [%rd11], {BYTES}, [%r6];"
WAIT = """$WAIT:
mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r6], 0;
@!%p2 bra $WAIT;"""
READ = "\n".join(
    f"ld.shared.b32 %r20, [%r9+{256 * i}];\nadd.u32 %r20, %r20, 1;\nst.shared.b32 [%r9+{256 * i}], %r20;"
    for i in range(WORDS // 64)
)
FENCE = "fence.proxy.async.shared::cta;"
BACK = f"@%p1 cp.async.bulk.global.shared::cta.bulk_group [%rd12], [%r7], {BYTES};"
COMMIT = "@%p1 cp.async.bulk.commit_group;"
DONE = "@%p1 cp.async.bulk.wait_group.read 0;"
CLEAN = [INIT, VISIBLE, BARRIER, EXPECT, COPY, WAIT, READ, FENCE, f"{BARRIER}\nmov.u32 %r40, 0;", BACK, COMMIT, DONE]


def text(lines):
    declared = ".shared .align 1024 .b8 s[8192];"
    return assembled_for(kernel(HEAD + "\n".join(lines), 2, declarations=declared))


def arrays():
    x = np.arange(1, BLOCKS * WORDS + 1, dtype=np.int32).reshape(BLOCKS, WORDS)
    return x, np.zeros_like(x)


def simulated(lines, **options):
    x, y = arrays()
    ptx = text(lines)
    return launch(ptx, "k", BLOCKS, THREADS, [x, y], **options), ptx, x, y


def clean(lines):
    report, _, x, y = simulated(lines)
    np.testing.assert_array_equal(y, x + 1)
    return report


def caught(lines, kind, bad):
    with pytest.raises(SimulationError) as error:
        simulated(lines)
    (finding,) = error.value.findings
    assert finding.kind == kind, finding
    assert finding.line == line_of(text(lines), bad), finding
    return finding


def before(line, *new):
    at = CLEAN.index(line)
    return [*CLEAN[:at], *new, *CLEAN[at:]]


def replaced(line, *new):
    at = CLEAN.index(line)
    return [*CLEAN[:at], *new, *CLEAN[at + 1 :]]


FIRST_READ, FIRST_WRITE = "ld.shared.b32 %r20, [%r9+0];", "st.shared.b32 [%r9+0], %r20;"


def test_a_copy_in_and_a_copy_out():
    report = clean(CLEAN)
    assert report.copy_bytes == 2 * BLOCKS * BYTES
    assert (report.global_load_bytes, report.global_store_bytes) == (BLOCKS * BYTES,) * 2


def test_the_assembler_takes_the_kernels_of_these_tests(tmp_path):
    more = ["mbarrier.inval.shared.b64 [%r6];", "setmaxnreg.dec.sync.aligned.u32 40;", "elect.sync _|%p5, 0xffffffff;"]
    good, said = assembles(text([*CLEAN, *more]), tmp_path)
    assert good, said


def test_nobody_waits():
    finding = caught(replaced(WAIT), "asynchronous copy read before wait", FIRST_READ)
    assert finding.thread == (0, 0, 0)


def test_a_wait_that_is_tried_once():
    once = WAIT.splitlines()[1]
    caught(replaced(WAIT, once), "asynchronous copy read before wait", FIRST_READ)


def test_a_wait_for_the_wrong_parity():
    caught(replaced(WAIT, WAIT.replace("[%r6], 0", "[%r6], 1")), "asynchronous copy read before wait", FIRST_READ)


def test_the_target_is_written_before_the_copy_is_there():
    bad = "st.shared.b32 [%r9+64], %r1;"
    caught(before(WAIT, bad), "asynchronous copy overwritten before wait", bad)


@pytest.mark.parametrize("bytes_", [BYTES + 16, BYTES - 16])
def test_bytes_that_never_come_or_were_not_expected(bytes_):
    expect = EXPECT.replace(f"{BYTES};", f"{bytes_};")
    finding = caught(replaced(EXPECT, expect), "mbarrier never complete", WAIT.splitlines()[1])
    assert ("16 bytes are missing" in finding.message) == (bytes_ > BYTES)
    assert ("16 bytes more have come" in finding.message) == (bytes_ < BYTES)


def test_bytes_that_never_come_and_nobody_waits_for():
    bad = "@%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [%r6], 32;"
    finding = caught([*CLEAN, bad], "mbarrier never complete", bad)
    assert "phase 1" in finding.message and "32 bytes are missing" in finding.message


def test_an_arrival_that_never_comes():
    init = INIT.replace(", 1;", ", 2;")
    finding = caught(replaced(INIT, init), "mbarrier never complete", WAIT.splitlines()[1])
    assert "1 of 2 arrivals and 0 bytes are missing" in finding.message


def test_an_arrival_that_expects_no_bytes():
    """The phase may be over before the copy arrives."""
    arrive = "@%p1 mbarrier.arrive.shared::cta.b64 _, [%r6];"
    caught(replaced(EXPECT, arrive), "asynchronous copy read before wait", FIRST_READ)


def test_the_order_of_the_copy_and_what_expects_it_is_free():
    clean([*replaced(EXPECT)[: CLEAN.index(COPY)], EXPECT, *CLEAN[CLEAN.index(COPY) + 1 :]])


def test_a_barrier_that_is_not_there():
    caught(replaced(INIT), "no mbarrier", EXPECT)
    caught(before(EXPECT, "@%p1 mbarrier.inval.shared::cta.b64 [%r6];"), "no mbarrier", EXPECT)


def test_a_barrier_that_others_do_not_know_of():
    one = CLEAN.index(BARRIER)
    lines = [*CLEAN[:one], *CLEAN[one + 1 :]]
    caught(lines, "shared memory race", WAIT.splitlines()[1])


def test_a_barrier_initialised_again():
    bad = "@%p1 mbarrier.init.shared::cta.b64 [s], 1;"
    caught(before(EXPECT, bad), "mbarrier in use", bad)
    caught(before(EXPECT, bad.replace("[s], 1", "[s+8], 0")), "mbarrier count", bad.replace("[s], 1", "[s+8], 0"))


def test_more_arrivals_than_a_phase_has():
    bad = "mbarrier.arrive.shared::cta.b64 _, [s+8];"
    lines = ["@%p1 mbarrier.init.shared::cta.b64 [s+8], 48;", "@%p1 mbarrier.expect_tx.relaxed.cta.shared::cta.b64 [s+8], 16;"]
    caught([*replaced(INIT, INIT, *lines), bad], "mbarrier count", bad)


def test_a_copy_that_uses_a_barrier_without_a_fence():
    caught(replaced(VISIBLE), "missing proxy fence", COPY)
    clean(replaced(VISIBLE, FENCE))
    clean([*CLEAN[:1], BARRIER, FENCE, *CLEAN[3:]])


def test_a_copy_to_what_threads_have_written_needs_a_fence():
    write = "st.shared.b32 [%r9], %r1;"
    lines = [INIT, VISIBLE, write, BARRIER, *CLEAN[3:]]
    caught(lines, "missing proxy fence", COPY)
    clean([INIT, VISIBLE, write, FENCE, BARRIER, *CLEAN[3:]])


def test_a_copy_to_what_others_still_read_or_write():
    lines = [INIT, VISIBLE, BARRIER, "st.shared.b32 [%r9], %r1;", FENCE, *CLEAN[3:]]
    caught(lines, "shared memory race", COPY)
    head = [INIT, VISIBLE, "st.shared.b32 [%r9], %r1;", FENCE, BARRIER, "ld.shared.b32 %r20, [%r9];"]
    finding = caught([*head, *CLEAN[3:]], "shared memory race", COPY)
    assert "while warp 1 reads it" in finding.message
    clean([*head, f"{BARRIER}\nmov.u32 %r41, 0;", *CLEAN[3:]])


def test_a_second_copy_to_a_place_where_one_is_under_way():
    bad = COPY.replace("[%r7]", "[s+1040]").replace(f", {BYTES},", ", 16,")
    lines = [line.replace(f"{BYTES};", f"{BYTES + 16};") if line == EXPECT else line for line in before(WAIT, bad)]
    caught(lines, "asynchronous copy overwritten before wait", bad)


def test_a_copy_out_without_a_fence_or_before_the_others():
    caught(replaced(FENCE), "missing proxy fence", BACK)
    at = CLEAN.index(FENCE) + 1
    caught([*CLEAN[:at], *CLEAN[at + 1 :]], "shared memory race", BACK)


def test_what_a_barrier_of_some_warps_says_is_of_before_it():
    at = CLEAN.index(BACK)
    some = [*CLEAN[: at - 1], "bar.sync 1, 64;"]
    clean([*some, *CLEAN[at:]])
    finding = caught([*some, "st.shared.b32 [%r9], %r20;", *CLEAN[at:]], "shared memory race", BACK)
    assert "while warp 1 writes it" in finding.message
    # A barrier within one warp does not cover the other.
    alone = ["st.shared.b32 [%r9], %r20;", "setp.ge.u32 %p3, %r1, 32;", "@%p3 bra $OVER;", "bar.sync 2, 32;", "$OVER:"]
    caught([*some, *alone, *CLEAN[at:]], "shared memory race", BACK)


def test_the_source_of_a_copy_out_is_overwritten():
    bad = "st.shared.b32 [%r9+128], %r1;"
    finding = caught(before(DONE, bad), "asynchronous operand overwritten", bad)
    assert "a bulk copy" in finding.message
    caught([*CLEAN, bad], "asynchronous operand overwritten", bad)  # by a thread that the other one does not synchronise with
    clean([*CLEAN, BARRIER.replace("0", "1"), bad])


def test_a_copy_out_that_is_not_waited_for():
    caught(replaced(DONE), "bulk copy not waited for", BACK)
    caught(replaced(COMMIT), "bulk copy not waited for", BACK)
    clean(replaced(DONE, DONE.replace(".read", "")))
    caught(replaced(DONE, DONE.replace("0;", "1;")), "bulk copy not waited for", BACK)


def test_bounds_and_alignment():
    bad = COPY.replace("[%r7]", "[%r7+8]")
    caught(replaced(COPY, bad), "misaligned bulk copy", bad)
    bad = COPY.replace("[%r7]", f"[%r7+{8192 - 1024 - BYTES + 16}]")
    caught(replaced(COPY, bad), "shared access out of bounds", bad)
    bad = COPY.replace("[%rd11]", "[%rd11+1048576]")
    finding = caught(replaced(COPY, bad), "global access out of bounds", bad)
    assert finding.thread == (0, 0, 0) and finding.block == (0, 0, 0)
    bad = BACK.replace("[%rd12]", "[%rd1]")
    finding = caught(replaced(BACK, bad), "overlapping writes of blocks", bad)
    bad = "mbarrier.arrive.shared::cta.b64 _, [s+4];"
    caught([*CLEAN, bad], "misaligned shared access", bad)


# Phases

PIPELINE = """@%p1 mbarrier.init.shared::cta.b64 [s], 1;
@%p1 mbarrier.init.shared::cta.b64 [s+8], 1;
@%p1 mbarrier.init.shared::cta.b64 [s+16], 32;
@%p1 mbarrier.init.shared::cta.b64 [s+24], 32;
@%p1 fence.mbarrier_init.release.cluster;
bar.sync 0;
mov.u32 %r30, 0;
mov.u32 %r31, 0;
mov.u32 %r34, 0;
setp.lt.u32 %p3, %r1, 32;
@!%p3 bra $CONSUME;
@!%p1 bra $END;
$PRODUCE:
and.b32 %r32, %r30, 1;
shl.b32 %r33, %r32, 3;
add.u32 %r35, %r6, %r33;
shl.b32 %r36, %r32, 8;
add.u32 %r36, %r7, %r36;
shr.u32 %r37, %r30, 1;
and.b32 %r37, %r37, 1;
xor.b32 %r38, %r37, 1;
$EMPTY:
mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r35+16], %r38;
@!%p2 bra $EMPTY;
mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r35], 128;
cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes [%r36], [%rd11], 128, [%r35];
add.s64 %rd11, %rd11, 128;
add.u32 %r30, %r30, 1;
setp.lt.u32 %p4, %r30, 16;
@%p4 bra $PRODUCE;
bra $END;
$CONSUME:
sub.u32 %r39, %r8, 128;
mad.wide.u32 %rd14, %r1, 4, %rd12;
$NEXT:
and.b32 %r32, %r31, 1;
shl.b32 %r33, %r32, 3;
add.u32 %r35, %r6, %r33;
shl.b32 %r36, %r32, 8;
add.u32 %r36, %r7, %r36;
add.u32 %r36, %r36, %r39;
shr.u32 %r37, %r31, 1;
and.b32 %r37, %r37, 1;
$FULL:
mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r35], %r37;
@!%p2 bra $FULL;
ld.shared.b32 %r20, [%r36];
mbarrier.arrive.shared::cta.b64 _, [%r35+16];
add.u32 %r20, %r20, 1;
st.global.b32 [%rd14+-128], %r20;
add.s64 %rd14, %rd14, 128;
add.u32 %r31, %r31, 1;
setp.lt.u32 %p4, %r31, 16;
@%p4 bra $NEXT;
$END:
mov.u32 %r50, 0;"""


def test_a_producer_and_a_consumer_over_many_phases():
    _, _, x, y = simulated([PIPELINE])
    np.testing.assert_array_equal(y, x + 1)


def test_a_producer_that_does_not_wait_for_an_empty_stage():
    lines = [PIPELINE.replace("mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r35+16], %r38;", "setp.eq.u32 %p2, 0, 0;")]
    caught(lines, "mbarrier count", "mbarrier.arrive.expect_tx")  # the phase before is not over
    # With the other parity it waits for ever, or not for the last readers.
    caught([PIPELINE.replace("[%r35+16], %r38", "[%r35+16], %r37")], "mbarrier never complete", "[%r35], %r37")


def test_a_consumer_that_arrives_before_it_has_read():
    arrive, read = "mbarrier.arrive.shared::cta.b64 _, [%r35+16];\n", "ld.shared.b32 %r20, [%r36];\n"
    lines = [PIPELINE.replace(read + arrive, arrive + read)]
    copy = next(line for line in PIPELINE.splitlines() if line.startswith("cp.async.bulk"))
    with pytest.raises(SimulationError) as error:
        simulated(lines)
    (finding,) = error.value.findings
    assert (finding.kind, finding.text) in {("shared memory race", copy), ("asynchronous copy read before wait", read.strip())}


def test_phases_by_their_state():
    lines = ["@%p1 mbarrier.init.shared.b64 [s], 64;", BARRIER]
    lines += [
        "mbarrier.arrive.shared.b64 %rd20, [s];",
        "$W:",
        "mbarrier.test_wait.shared.b64 %p2, [s], %rd20;",
        "@!%p2 bra $W;",
    ]
    lines += [
        "mbarrier.arrive.shared.b64 %rd21, [s];",
        "$V:",
        "mbarrier.test_wait.shared.b64 %p2, [s], %rd21;",
        "@!%p2 bra $V;",
    ]
    lines += ["cvt.u32.u64 %r20, %rd21;\ncvt.u32.u64 %r21, %rd20;\nsub.u32 %r20, %r20, %r21;\nst.global.b32 [%rd13], %r20;"]
    _, _, _, y = simulated(lines)
    assert (y[:, :64] == 1).all()


def test_a_loop_may_give_up():
    """After fifty tries it takes another path; that is not an endless loop."""
    lines = ["@%p1 mbarrier.init.shared.b64 [s], 2;", BARRIER, "mov.u32 %r20, 0;", "$W:"]
    lines += ["mbarrier.try_wait.parity.shared.b64 %p2, [s], 0, 100;", "add.u32 %r20, %r20, 1;", "setp.lt.u32 %p3, %r20, 50;"]
    lines += ["not.pred %p5, %p2;", "and.pred %p4, %p3, %p5;", "@%p4 bra $W;"]
    lines += ["st.global.b32 [%rd13], %r20;"]
    _, _, _, y = simulated(lines)
    assert (y[:, :64] == 50).all()


# Clusters of one block, and the elected thread


def test_a_cluster_of_one():
    lines = ["mapa.shared::cluster.u32 %r20, %r6, 0;", "mov.u32 %r21, %cluster_ctarank;", "mov.u32 %r22, %cluster_nctarank;"]
    lines += [
        "st.shared::cluster.b32 [%r20+2048], %r22;",
        "barrier.cluster.arrive.release.aligned;",
        "barrier.cluster.wait.acquire.aligned;",
    ]
    lines[3] = "@%p1 " + lines[3]
    lines += ["ld.shared::cta.b32 %r23, [%r6+2048];", "add.u32 %r23, %r23, %r21;", "st.global.b32 [%rd13], %r23;"]
    _, _, _, y = simulated(lines)
    assert (y[:, :64] == 1).all()
    lines[0] = "mapa.shared::cluster.u32 %r20, %r6, 1;"
    caught(lines, "no such block in the cluster", lines[0])


def test_clusters_of_several_blocks_are_refused():
    one = text(["mov.u32 %r20, 0;"]).replace("\n{\n", "\n.explicitcluster\n.reqnctapercluster 1, 1, 1\n{\n", 1)
    launch(one, "k", 2, THREADS, arrays())
    with pytest.raises(UnsupportedInstruction, match="reqnctapercluster 2, 1, 1 of k"):
        launch(one.replace("cluster 1,", "cluster 2,"), "k", 2, THREADS, arrays())


def test_one_thread_of_a_warp_is_elected():
    lines = [
        "elect.sync %r20|%p2, 0xfffffff0;",
        "selp.b32 %r21, 100, 0, %p2;",
        "add.u32 %r21, %r21, %r20;",
        "st.global.b32 [%rd13], %r21;",
    ]
    _, _, _, y = simulated(lines)
    chosen = y[:, :64].reshape(BLOCKS, 2, 32)
    assert ((chosen >= 100).sum(axis=2) == 1).all() and (chosen[:, :, 4] == 104).all()


@pytest.mark.parametrize("bad", [
    "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes [%r7], [%r6], 16, [%r6];",
    "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster [%r7], [%rd11], 16, [%r6], 1;",
    "cp.async.bulk.tensor.1d.shared::cluster.global.mbarrier::complete_tx::bytes [%r7], [%rd11, {%r1}], [%r6];",
    "cp.reduce.async.bulk.global.shared::cta.bulk_group.add.u32 [%rd11], [%r7], 16;",
    "mbarrier.arrive.noComplete.release.cta.shared.b64 %rd20, [%r6], 1;",
    "setmaxnreg.inc.sync.aligned.u32 44;",
    "fence.proxy.async::generic.release.sync_restrict::shared::cta.cluster;",
])  # fmt: skip
def test_what_is_not_modelled_is_refused_by_name(bad):
    with pytest.raises(UnsupportedInstruction, match=bad.split(" ", maxsplit=1)[0]):
        simulated([bad])
