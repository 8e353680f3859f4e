"""Programs in other languages, built as docs/c-library.md says: each prints the numbers that Python has."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench import c_binding as binding
from dcnn_fast import c_library
from dcnn_fast.nets import save_model
from dcnn_fast.scoring import Scorer
from dcnn_fast.version import version
from tests import small
from tests.other_programs import need

pytestmark = pytest.mark.needs_engine

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "c_library"


@pytest.fixture(scope="module")
def given(tmp_path_factory):
    """A model's file and a picture's, and Python's score of it."""
    folder = tmp_path_factory.mktemp("given")
    save_model(small.model(), folder / "model.safetensors")
    pixels = np.random.default_rng(4).integers(0, 256, (57, 44, 3), np.uint8)
    (folder / "picture.ppm").write_bytes(b"P6\n44 57\n255\n" + pixels.tobytes())
    (folder / "none.ppm").write_bytes(b"P6\n44 57\n255\n" + pixels.tobytes()[:-1])
    (folder / "deep.ppm").write_bytes(b"P6\n44 57\n65535\n" + 2 * pixels.tobytes())
    return folder, Scorer(str(folder / "model.safetensors")).score(pixels)


def run(*command, **changes):
    """What the command prints. A failure shows what it said."""
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **changes}
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def require_scores(command, given):
    """The program prints Python's score of the picture, and says in a line what it cannot do."""
    folder, expected = given
    model, picture = folder / "model.safetensors", folder / "picture.ppm"
    lines = run(*command, model, picture).splitlines()
    words = re.fullmatch(r"mean (\S+) std (\S+) percentile nan", lines[0].lower()).groups()
    assert [float(word) for word in words] == [expected.mean, expected.std]
    assert {label: float(share) for label, share in map(str.split, lines[1:])} == expected.probs
    wrong = ((folder / "nothing", picture, "No such file"), (model, folder / "none.ppm", "is no binary PPM"),
             (model, folder / "deep.ppm", "is no binary PPM of eight bits a channel"),
             (picture, picture, "not a readable safetensors file"))  # fmt: skip
    for first, second, said in wrong:
        done = subprocess.run([*map(str, command), str(first), str(second)], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1) and said in done.stderr


@pytest.fixture(scope="module")
def moved(tmp_path_factory):
    """The library's folder where it was not installed to: nothing in it may say where that was."""
    assert run(sys.executable, "-m", "dcnn_fast.c_library").strip() == str(c_library.prefix())
    return Path(shutil.copytree(c_library.prefix(), tmp_path_factory.mktemp("moved") / "anywhere"))


def test_c_and_cpp_by_cmakes_package(given, moved, tmp_path):
    need("cmake")
    run("cmake", "-S", EXAMPLES, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={moved}", "-DCMAKE_C_FLAGS=-Wall -Wextra -Werror")
    run("cmake", "--build", tmp_path)
    assert str(moved / "lib") in run("ldd", tmp_path / "score-c")
    require_scores([tmp_path / "score-c"], given)
    require_scores([tmp_path / "score-cpp"], given)


def test_c_by_pkg_config(given, moved, tmp_path):
    need("pkg-config")
    need("cc")
    lib = moved / "lib"
    flags = run("pkg-config", "--cflags", "--libs", "dcnn_fast", PKG_CONFIG_PATH=str(lib / "pkgconfig")).split()
    assert run("pkg-config", "--modversion", "dcnn_fast", PKG_CONFIG_PATH=str(lib / "pkgconfig")).strip() == version()
    strict = ["-std=c99", "-pedantic", "-Wall", "-Werror"]
    run("cc", *strict, EXAMPLES / "score.c", *flags, f"-Wl,-rpath,{lib}", "-o", tmp_path / "score")
    assert str(lib) in run("ldd", tmp_path / "score")
    require_scores([tmp_path / "score"], given)


def test_rust(given, tmp_path):
    need("rustc")
    lib = c_library.prefix() / "lib"
    source = EXAMPLES / "score.rs"
    run("rustc", "-D", "warnings", "-L", lib, "-C", f"link-arg=-Wl,-rpath,{lib}", source, "-o", tmp_path / "score")
    require_scores([tmp_path / "score"], given)


def test_node(given, tmp_path):
    need("node")
    need("npm")
    kept = ROOT / "build" / "koffi"
    if not (kept / "node_modules" / "koffi").is_dir():
        kept.mkdir(parents=True, exist_ok=True)
        command = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--prefix", str(kept), "koffi"]
        if subprocess.run(command, capture_output=True, check=False, timeout=100).returncode:
            pytest.skip("needs the program koffi")
    (tmp_path / "node_modules").symlink_to(kept / "node_modules")
    shutil.copy(EXAMPLES / "score.mjs", tmp_path)
    require_scores(["node", tmp_path / "score.mjs", c_library.library()], given)


def test_the_library_has_a_name_of_its_version_and_no_other_symbols():
    need("readelf")
    library = c_library.library()
    about = run("readelf", "-d", library)
    assert re.search(r"SONAME.*\[libdcnn_fast\.so\.0\]", about)
    needed = set(re.findall(r"NEEDED.*\[(.*)\]", about))
    assert not [name for name in needed if "python" in name or "torch" in name or "gomp" in name]
    table = run("readelf", "--dyn-syms", "--wide", library)
    exported = {
        line.split()[7].split("@")[0] for line in table.splitlines() if re.search(r"(GLOBAL|WEAK) +DEFAULT +\d+ ", line)
    }
    header = (c_library.prefix() / "include" / "dcnn_fast.h").read_text()
    assert exported - {"DCNN_FAST_0"} == set(re.findall(r"^DCNN_API .*?\b(dcnn_\w+)\(", header, re.MULTILINE))


def test_the_header_is_c_and_cpp_and_its_structs_are_as_bound(tmp_path):
    need("cc")
    structs = {"error": binding.Error, "image": binding.Image, "options": binding.Options, "result": binding.Result}
    checks = "".join(
        f"_Static_assert(offsetof(dcnn_{name}, {field}) == {getattr(kind, field).offset}, \"\");\n"
        for name, kind in structs.items()
        for field, _ in kind._fields_
    )  # fmt: skip
    (tmp_path / "check.c").write_text("#include <dcnn_fast.h>\n" + checks)
    run("cc", "-std=c11", "-Wall", "-Werror", "-I", c_library.prefix() / "include", "-fsyntax-only", tmp_path / "check.c")
    assert binding.loaded().dcnn_version().decode() == version()


def test_a_process_made_by_a_fork_scores_with_its_parents_model(given):
    folder, expected = given
    pixels = np.random.default_rng(4).integers(0, 256, (57, 44, 3), np.uint8)
    with binding.Model(folder / "model.safetensors") as model:
        assert model.score(pixels).mean == expected.mean
        child = os.fork()
        if child == 0:
            os._exit(0 if model.score(pixels).mean == expected.mean else 1)
        assert os.waitpid(child, 0)[1] == 0
