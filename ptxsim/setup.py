"""The part in C++, which makes launches faster and is left out where there is no compiler."""

from pybind11.setup_helpers import Pybind11Extension
from setuptools import setup

# Sums may not be contracted: the same bits on every machine.
native = Pybind11Extension(
    "ptxsim._native",
    ["src/native/module.cpp"],
    depends=[f"src/native/{name}.hpp" for name in ("banks", "lanes", "matrix", "memory", "shared", "words")],
    cxx_std=17,
    extra_compile_args=["-O3", "-ffp-contract=off"],
    optional=True,
)

setup(ext_modules=[native])
