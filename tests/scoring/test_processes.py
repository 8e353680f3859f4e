"""A scorer in other processes, copied and pickled, on both sides of a fork and beside threads: the same bits everywhere."""

from __future__ import annotations

import contextlib
import copy
import io
import json
import multiprocessing
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import joblib
import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from dcnn_fast import Scorer, engine, load_model, ops, save_model
from dcnn_fast.nets import Model, build
from tests import small

PHOTO = np.random.default_rng(0).integers(0, 256, (60, 70, 3)).astype(np.uint8)
LARGE = np.random.default_rng(1).integers(0, 256, (300, 400, 3)).astype(np.uint8)


def numbers(score):
    return score.probs, score.mean, score.std, score.label


def scored(scorer):
    """The scores, computed in another process."""
    return numbers(scorer.score(PHOTO))


def all_scored(receive, send):
    """The scores of the scorers that arrive, until there are no more."""
    for scorer in iter(receive, None):
        send(numbers(scorer.score(PHOTO)))


@pytest.fixture(params=["float32", "bfloat16"])
def scorer(request):
    return Scorer(small.model(), samples=7, dtype=request.param)


@pytest.fixture(params=["before use", "after use"])
def expected(request, scorer):
    """The expected results; with `after use`, the scorer has computed them before the test begins."""
    reference = numbers(Scorer(small.model(), samples=7, dtype=scorer.dtype).score(PHOTO))
    if request.param == "after use":
        assert numbers(scorer.score(PHOTO)) == reference
    return reference


def copies():
    return {
        "pickle": lambda scorer: pickle.loads(pickle.dumps(scorer)),
        "oldest pickle": lambda scorer: pickle.loads(pickle.dumps(scorer, protocol=0)),
        "deepcopy": copy.deepcopy,
        "pickle of the model": lambda scorer: Scorer(pickle.loads(pickle.dumps(scorer.model)), samples=7, dtype=scorer.dtype),
        "deepcopy of the model": lambda scorer: Scorer(copy.deepcopy(scorer.model), samples=7, dtype=scorer.dtype),
    }


@pytest.mark.parametrize("how", copies())
def test_a_copy_scores_the_same_and_has_weights_of_its_own(scorer, expected, how):
    twin = copies()[how](scorer)
    assert numbers(twin.score(PHOTO)) == expected
    assert (twin.samples, twin.grid, twin.seed, twin.dtype, twin.device) == (7, 1, 0, scorer.dtype, "cpu")
    with torch.no_grad():
        for parameter in twin.model.net.parameters():
            parameter.zero_()
    assert numbers(scorer.score(PHOTO)) == expected
    assert numbers(twin.score(PHOTO)) != expected


def test_a_shallow_copy_shares_the_model():
    scorer = Scorer(small.model(), samples=3)
    twin = copy.copy(scorer)
    assert twin.model is scorer.model
    assert numbers(twin.score(PHOTO)) == numbers(scorer.score(PHOTO))


@pytest.mark.parametrize("name", ["model", "device", "samples", "grid", "seed", "dtype", "background", "max_pixels"])
def test_what_a_scorer_was_made_with_cannot_be_set(name):
    scorer = Scorer(small.model(), samples=3)
    with pytest.raises(AttributeError):
        setattr(scorer, name, getattr(scorer, name))


class Labelled(Scorer):
    """A scorer subclassed by a program."""

    def __init__(self, title):
        super().__init__(small.model(), samples=3)
        self.title = title

    def titled(self, image):
        """The title and the score."""
        return self.title, self.score(image).mean


@pytest.mark.parametrize("how", [copy.copy, copy.deepcopy, lambda scorer: pickle.loads(pickle.dumps(scorer))])
def test_a_copy_of_a_programs_own_class_is_of_that_class(how):
    scorer = Labelled("mine")
    twin = how(scorer)
    assert type(twin) is Labelled
    assert twin.titled(PHOTO) == scorer.titled(PHOTO) == ("mine", scorer.score(PHOTO).mean)


def test_options_survive_a_pickle():
    scorer = pickle.loads(pickle.dumps(Scorer(small.model(), samples=3, seed=5, grid=4, background=(1, 2, 3), max_pixels=3000)))
    assert (scorer.seed, scorer.grid, scorer.background, scorer.max_pixels) == (5, 4, (1, 2, 3), 3000)
    assert "exceed the limit of 3000" in next(scorer.score_many([PHOTO])).error


@pytest.fixture
def twins():
    """A scorer that has scored, one that has not, and their common result."""
    used, unused = Scorer(small.model(), samples=7), Scorer(small.model(), samples=7)
    return used, unused, numbers(used.score(PHOTO))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_pools_of_processes(twins, method):
    *scorers, expected = twins
    context = multiprocessing.get_context(method)
    with context.Pool(1) as pool:
        assert pool.map(scored, scorers) == [expected] * 2
        for scorer in scorers:
            assert [numbers(score) for score in pool.map(scorer.score, [PHOTO])] == [expected]
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        for scorer in scorers:
            assert numbers(pool.submit(scorer.score, PHOTO).result(timeout=60)) == expected
    assert [scored(scorer) for scorer in scorers] == [expected] * 2


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.parametrize("package", [multiprocessing, torch.multiprocessing], ids=["multiprocessing", "torch"])
def test_queues_and_pipes_between_processes(twins, method, package):
    *scorers, expected = twins
    context = package.get_context(method)
    tasks, results, (here, there) = context.Queue(), context.Queue(), context.Pipe()
    processes = [
        context.Process(target=all_scored, args=(tasks.get, results.put)),
        context.Process(target=all_scored, args=(there.recv, there.send)),
    ]
    for process in processes:
        process.start()
    for scorer in (*scorers, None):
        tasks.put(scorer)
        here.send(scorer)
    for _ in scorers:
        assert results.get(timeout=60) == expected
        assert here.poll(60) and here.recv() == expected
    for process in processes:
        process.join()
    assert [scored(scorer) for scorer in scorers] == [expected] * 2


def test_queues_between_threads(twins):
    *scorers, expected = twins
    tasks, found = queue.Queue(), []
    thread = threading.Thread(target=all_scored, args=(tasks.get, found.append))
    thread.start()
    for scorer in (*scorers, None):
        tasks.put(scorer)
    thread.join()
    assert found == [expected] * 2


@pytest.mark.parametrize("backend", ["loky", "multiprocessing", "threading"])
def test_joblib(twins, backend):
    *scorers, expected = twins
    found = joblib.Parallel(n_jobs=2, backend=backend)(joblib.delayed(scorer.score)(PHOTO) for scorer in scorers)
    assert [numbers(score) for score in found] == [expected] * 2
    assert [scored(scorer) for scorer in scorers] == [expected] * 2


def in_a_fork(work, seconds=60):
    """The result of `work` in a child made by a bare fork; a child that hangs is killed and fails the test."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.write(writing, json.dumps(work()).encode())
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    deadline = time.monotonic() + seconds
    while (ended := os.waitpid(child, os.WNOHANG)) == (0, 0) and time.monotonic() < deadline:
        time.sleep(0.01)
    if ended == (0, 0):
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        pytest.fail("the child hangs")
    with os.fdopen(reading) as pipe:
        assert ended[1] == 0
        return json.loads(pipe.read())


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("threads", [1, 3])
def test_both_sides_of_a_fork(monkeypatch, backend, threads):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    torch.set_num_threads(threads)
    scorer = Scorer(small.model(), samples=7)
    expected = scorer.score(PHOTO).mean
    torch.randn(2000, 2000).square().sum()  # torch's threads have run
    assert in_a_fork(lambda: scorer.score(PHOTO).mean) == expected
    assert in_a_fork(lambda: [score.mean for score in scorer.score_many([PHOTO] * 4, workers=2)]) == [expected] * 4
    assert in_a_fork(lambda: pickle.loads(pickle.dumps(scorer)).score(PHOTO).mean) == expected
    assert scorer.score(PHOTO).mean == expected


@pytest.mark.needs_engine
@pytest.mark.parametrize("isa", engine.isas())
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_both_sides_of_a_fork_on_every_instruction_set(monkeypatch, isa, dtype):
    """At the shipped model's sizes, as torch does not spread small operations over threads."""
    monkeypatch.setenv("DCNN_FAST_CPU_ISA", isa)
    torch.set_num_threads(3)
    scorer = Scorer(samples=2, dtype=dtype)
    expected = scorer.score(PHOTO).mean
    torch.randn(2000, 2000).square().sum()
    assert in_a_fork(lambda: scorer.score(PHOTO).mean) == expected


def test_torchs_work_of_the_package_is_done_in_a_forked_child(tmp_path, monkeypatch):
    """Building, saving and the reference block, at sizes that torch spreads over its threads."""
    torch.set_num_threads(3)
    x, weight = torch.ones(2, 64, 60, 60), torch.ones(64, 64, 5, 5)
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    expected = float(ops.block(x, weight, pool=(3, 2)).numpy().sum())
    torch.randn(2000, 2000).square().sum()

    def work():
        model = Model(build("style-scnn-arch1"))
        save_model(model, tmp_path / "m.safetensors", fc_storage="int8", block_storage="float16")
        return [model.digest, float(ops.block(x, weight, pool=(3, 2)).numpy().sum())]

    digest = Model(build("style-scnn-arch1")).digest
    assert in_a_fork(work) == [digest, expected]
    assert load_model(tmp_path / "m.safetensors").spec.name == "style-scnn-arch1"


def test_a_scorer_is_made_in_a_forked_child_of_a_deterministic_program():
    """Deterministic torch fills new memory, on its threads."""
    torch.set_num_threads(3)
    torch.randn(2000, 2000).square().sum()
    expected = Scorer(samples=2).score(PHOTO).mean
    torch.use_deterministic_algorithms(True)
    try:
        assert in_a_fork(lambda: Scorer(samples=2).score(PHOTO).mean) == expected
    finally:
        torch.use_deterministic_algorithms(False)


def test_threads_that_start_while_a_forked_child_scores_have_all_of_torchs_threads(monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", "reference")
    torch.set_num_threads(3)
    torch.randn(2000, 2000).square().sum()
    scorer = Scorer(small.model(), samples=40)

    def work():
        seen = []
        scoring = threading.Thread(target=lambda: [scorer.score(PHOTO) for _ in range(3)])
        scoring.start()
        while scoring.is_alive():
            other = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
            other.start()
            other.join()
        return sorted(set(seen))

    assert in_a_fork(work) == [3]


@pytest.mark.parametrize("backend", ["cpu", "reference"])
def test_the_package_is_imported_first_in_a_forked_child(backend):
    program = (
        "import os, sys, torch\n"
        "torch.set_num_threads(3)\n"
        "torch.randn(2000, 2000).square().sum()\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    import numpy as np\n"
        "    from dcnn_fast import Scorer\n"
        "    print(Scorer(samples=2).score(np.zeros((50, 60, 3), np.uint8)).mean, flush=True)\n"
        "    os._exit(0)\n"
        "sys.exit(os.waitpid(child, 0)[1])\n"
    )
    environment = {**os.environ, "DCNN_FAST_BACKEND": backend}
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, timeout=120, capture_output=True, text=True, env=environment
    )
    assert 0 < float(done.stdout) < 1


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_scorer_of_the_shipped_model_is_made_in_a_child_of_a_process_that_made_one(dtype, backend, monkeypatch):
    monkeypatch.setenv("DCNN_FAST_BACKEND", backend)
    torch.set_num_threads(3)
    torch.randn(2000, 2000).square().sum()
    first = Scorer(dtype=dtype).score(LARGE).mean

    def made():
        scorer = Scorer(dtype=dtype)
        return [scorer.score(LARGE).mean, *(score.mean for score in scorer.score_many([LARGE] * 2, workers=2))]

    assert in_a_fork(made) == [first] * 3


def test_a_fork_while_threads_score_leaves_no_lock_taken():
    """Children are forked at any moment while threads hash, plan, compare and pack weights; each child does all of that."""
    scorer = Scorer(small.model(), samples=3)
    hashed = np.zeros((2500, 3000, 3), np.uint8)
    weight, x = torch.ones(512, 512, 3, 3), torch.ones(1, 512, 3, 3)  # hardly anything to compute, and much to compare
    stop = threading.Event()

    def block():
        return ops.block(x, weight, padding=1).sum().item()

    def over_and_over(work):
        while not stop.is_set():
            work()

    expected = [scorer.score(PHOTO).mean, block()]
    threads = [threading.Thread(target=over_and_over, args=(job,)) for job in (lambda: scorer.score(hashed), block)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(25):
            assert in_a_fork(lambda: [scorer.score(PHOTO).mean, block()], seconds=30) == expected
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def test_a_fork_while_a_thread_reads_leaves_no_image_locked_and_nothing_set():
    """The child is forked while the thread is decoding, and reads the same image."""
    decoding, go_on = threading.Event(), threading.Event()

    class Slow(ImageFile.ImageFile):
        format = "SLOW"

        def _open(self):
            self._mode, self._size, self.tile = "RGB", (60, 50), []

        def load(self):
            if threading.current_thread() is not threading.main_thread():
                decoding.set()
                go_on.wait()
            self._im = Image.new("RGB", self._size).im
            return super().load()

    image = Slow(io.BytesIO(b"slow"))
    limit = Image.MAX_IMAGE_PIXELS
    scorer = Scorer(small.model(), samples=2)
    expected = scorer.score(Image.new("RGB", (60, 50))).mean
    thread = threading.Thread(target=scorer.score, args=(image,))
    thread.start()
    decoding.wait()
    try:
        found = in_a_fork(
            lambda: [scorer.score(image).mean, Image.MAX_IMAGE_PIXELS, type(Image.MAX_IMAGE_PIXELS).__name__], seconds=20
        )
    finally:
        go_on.set()
        thread.join()
    assert found == [expected, limit, "int"]


def test_an_iterator_that_a_fork_cut_through_says_so_and_goes_on_in_its_own_process():
    scorer = Scorer(small.model(), samples=3)
    expected = scorer.score(PHOTO).mean
    stream = scorer.score_many([PHOTO] * 30, batch=2, workers=2)
    assert next(stream).mean == expected

    def in_the_child():
        try:
            next(stream)
        except RuntimeError as error:
            return str(error)

    assert "belongs to the process that made it" in in_a_fork(in_the_child)
    assert [score.mean for score in stream] == [expected] * 29


def test_another_thread_that_starts_torch_later_has_all_of_its_threads():
    """Several threads call `score_many` at once; each later thread must see torch's full number of threads."""
    torch.set_num_threads(4)
    scorer = Scorer(small.model(), samples=2)

    def work(_):
        found = [score.mean for score in scorer.score_many([PHOTO] * 3, batch=2, workers=2)]
        return found, torch.get_num_threads()

    expected = [scorer.score(PHOTO).mean] * 3
    for _ in range(5):
        with ThreadPoolExecutor(6) as pool:
            assert list(pool.map(work, range(12))) == [(expected, 4)] * 12
    seen = []
    for _ in range(3):
        thread = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert seen == [4] * 3


def test_scores_go_on_in_a_thread_that_outlives_the_programs_last_line():
    program = (
        "import sys, threading\n"
        "sys.path.insert(0, '.')\n"
        "import numpy as np\n"
        "from dcnn_fast import Scorer\n"
        "from tests import small\n"
        "scorer = Scorer(small.model(), samples=2)\n"
        "def work(): print(sum(s.mean is not None for s in scorer.score_many([np.zeros((50, 60, 3), np.uint8)] * 60)))\n"
        "threading.Thread(target=work).start()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout.split() == ["60"]


def test_a_fork_in_a_program_that_never_scored_before(tmp_path):
    """A process's first use of the package, in a child forked by another thread."""
    program = (
        "import multiprocessing, numpy as np, torch\n"
        "from dcnn_fast import Scorer\n"
        "image = np.zeros((50, 60, 3), np.uint8)\n"
        "def one(_): return Scorer().score(image).mean\n"
        "torch.ones(2000, 2000).square().sum()\n"
        "with multiprocessing.get_context('fork').Pool(2) as pool: found = pool.map(one, range(3))\n"
        "assert len({*found, one(0)}) == 1, found\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)


def test_several_threads_of_a_forked_child_are_its_first_to_use_torch():
    """If the parent has set torch's threads, each thread of the child looks for torch's pool, and one must have made it."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        photos, made = [PHOTO] * 2, {"samples": 3, "dtype": "bfloat16"}
        expected = [numbers(score) for score in Scorer(small.model(), **made).score_many(photos, workers=2)]
        for number in range(80):
            child = os.fork()
            if child == 0:
                status = 1
                with contextlib.suppress(BaseException):
                    found = Scorer(small.model(), **made).score_many(photos, workers=2)
                    status = int([numbers(score) for score in found] != expected)
                os._exit(status)
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0, f"child {number}"
    finally:
        torch.set_num_threads(before)
