# Two commands: `make demo` scores photographs, `make test` runs the tests. Both set up what is missing first.
PYTHON ?= python3
VENV   ?= .venv
OUT    ?= demo-out
SECONDS_OF_FUZZ ?= 120
JOBS   ?= 1
ISA    ?=
PHOTOS ?=
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test lint docs sanitize fuzz release-check setup clean

setup: $(STAMP)

$(STAMP): pyproject.toml ptxsim/pyproject.toml ptxsim/setup.py $(wildcard ptxsim/src/native/*) constraints.txt CMakeLists.txt $(wildcard csrc/*/* csrc/*/*/*)
	$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV)
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ./ptxsim -e '.[test,lint,demo,bench,docs]'
	touch $@

demo: $(STAMP)
	mkdir -p $(OUT)
ifeq ($(strip $(PHOTOS)),)
	$(BIN)/python tools/demo_photos.py $(OUT)/photos
	$(BIN)/dcnn-fast score $(OUT)/photos --csv $(OUT)/scores.csv --html $(OUT)/index.html --overwrite
else
	@# Status 1 says that some files could not be read; they have been named.
	$(BIN)/dcnn-fast score '$(patsubst ~/%,$(HOME)/%,$(PHOTOS))' -r --csv $(OUT)/scores.csv --html $(OUT)/index.html --overwrite || test $$? -eq 1
endif

# JOBS: processes that share the tests. Threads that wait do not spin then, as processes share the cores. ISA=avx2: the engine and torch
# as on a processor without AVX-512; torch's compiler has a cache of its own then, as its keys do not hold the instruction set.
test: $(STAMP)
	$(if $(ISA),DCNN_FAST_CPU_ISA=$(ISA) ATEN_CPU_CAPABILITY=$(ISA) TORCHINDUCTOR_CACHE_DIR=$(CURDIR)/build/inductor-$(ISA) )$(if $(filter 1,$(JOBS)),,OMP_WAIT_POLICY=passive )$(BIN)/python -m pytest$(if $(filter 1,$(JOBS)),, -n $(JOBS) --dist worksteal)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documents as a site, site/index.html. A link or an anchor that leads nowhere is an error.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# The engine under AddressSanitizer and UndefinedBehaviorSanitizer, under ThreadSanitizer, and with NaN in unwritten memory: builds it
# for each once more, into build/sanitize.
sanitize: $(STAMP)
	$(BIN)/python -m devtools.sanitize

# Random inputs, led by coverage, for all that reads what somebody else wrote (fuzz/README.md). Where atheris cannot be installed its
# targets go through the kept inputs alone.
fuzz: $(STAMP)
	-PIP_CONSTRAINT=$(CURDIR)/constraints.txt $(BIN)/python -m pip install --quiet --disable-pip-version-check 'atheris>=3'
	$(BIN)/python -m fuzz --seconds $(SECONDS_OF_FUZZ)

# Refuses results that are of other sources than these; `python -m bench --out bench/results/NAME.json` measures anew.
release-check: $(STAMP)
	$(BIN)/python -m bench.release

clean:
	rm -rf $(VENV) build dist site $(OUT)
