# Fairlead from a bare Debian 12: `make demo`, `make test`. Everything made lies in build/; what is there already is not made again.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules
.SECONDARY:

PYTHON := build/venv/bin/python
JOBS ?= $(shell nproc)
# Processes that run end-to-end tests: half as many again as cores, as tests wait now and then.
TESTERS ?= $(shell expr \( $(JOBS) \* 3 + 1 \) / 2)
FUZZ_SECONDS ?= 600
PYTEST := $(PYTHON) -m pytest -c tests/pyproject.toml
PROTOS := $(shell find proto -name '*.proto')
# The lock lets targets that build different parts of one tree run side by side.
BUILD = flock build/$(1).lock cmake --build build/$(1)
STEP = @echo "==> $(1)"
SANITIZERS := UBSAN_OPTIONS=print_stacktrace=1 ASAN_SYMBOLIZER_PATH=/usr/bin/llvm-symbolizer-19

.PHONY: help setup build demo test test-cpp test-asan test-python test-e2e test-docs image image-check k8s-check fuzz mutants proof bench bench-quick lint format clean

help: ## Tell what there is to make
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

# ---- What everything needs. ----

setup: build/.packages build/venv/.client build/tools/grpcurl build/tools/kustomize ## Install packages (apt), Python environment, stubs and tools

build/.packages: tests/setup/packages
	$(call STEP,Debian packages)
	@mkdir -p build
	@tests/setup/packages
	@touch $@

build/venv-stubs/.ready: tests/requirements-stubs.txt tests/setup/venv | build/.packages
	$(call STEP,Python environment that generates the stubs (build/venv-stubs))
	@tests/setup/venv build/venv-stubs $<
	@touch $@

build/venv/.ready: tests/requirements.txt tests/setup/venv | build/.packages
	$(call STEP,Python environment (build/venv))
	@tests/setup/venv build/venv $<
	@touch $@

build/venv-oldest/.ready: tests/requirements-oldest.txt tests/setup/venv | build/.packages
	$(call STEP,Python environment with the oldest gRPC supported (build/venv-oldest))
	@tests/setup/venv build/venv-oldest $<
	@touch $@

build/venv-bench/.ready: tests/requirements-bench.txt tests/setup/venv | build/.packages
	$(call STEP,Python environment with the contenders of the benchmark (build/venv-bench))
	@tests/setup/venv build/venv-bench $<
	@touch $@

build/.stubs: $(PROTOS) clients/python/generate.py build/venv-stubs/.ready
	$(call STEP,Python stubs)
	@build/venv-stubs/bin/python clients/python/generate.py
	@touch $@

build/%/.client: clients/python/pyproject.toml build/%/.ready build/.stubs
	$(call STEP,Python client (build/$*))
	@build/$*/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps --editable clients/python
	@touch $@

build/tools/%: tests/setup/% tests/setup/go-tool | build/venv/.ready
	$(call STEP,$* (about a minute))
	@tests/setup/$* build/tools $(PYTHON)
	@touch $@

# ---- The service and the simulated exchange. ----

build/%/build.ninja: CMakePresets.json | build/.packages
	$(call STEP,configure build/$*)
	@cmake --preset $* >build/$*.configure.log || { cat build/$*.configure.log; exit 1; }
	@touch $@

build: build/release/build.ninja ## Build everything (build/release)
	$(call STEP,build build/release)
	@$(call BUILD,release)

demo: build/venv/.client build/release/build.ninja ## Watch an adapter stream through the gateway, and survive lost connections
	$(call STEP,build the gateway and the simulated exchange)
	@$(call BUILD,release) --target fairlead exchange
	$(call STEP,demo)
	@$(PYTHON) tests/demo/demo.py

# ---- Tests. ----

# One after the other, also under `make -j`: tests measure time.
test: ## Run all tests
	@$(MAKE) --no-print-directory -j1 build test-cpp test-python test-e2e test-docs image-check test-asan
	$(call STEP,all tests passed)

test-cpp: build ## Run the C++ tests
	$(call STEP,C++ tests)
	@ctest --test-dir build/release --output-on-failure --no-tests=error -j$(JOBS)
	@sed -n '/seeds of .* events/,/^impossible/p' build/release/Testing/Temporary/LastTest.log

test-asan: build/asan/build.ninja build/venv/.client ## Run the C++ tests, and the bad-input tests, with sanitizers
	$(call STEP,build build/asan)
	@$(call BUILD,asan)
	$(call STEP,C++ tests with AddressSanitizer and UndefinedBehaviorSanitizer)
	@$(SANITIZERS) ctest --test-dir build/asan --output-on-failure --no-tests=error -j$(JOBS)
	$(call STEP,bad input with AddressSanitizer and UndefinedBehaviorSanitizer)
	@$(SANITIZERS) FAIRLEAD_BUILD=build/asan $(PYTEST) tests/e2e -m bad_input -n $(TESTERS)

test-python: build/venv/.client build/venv-oldest/.client ## Run the client's own tests (newest and oldest gRPC) and those of lint, docs and bench
	$(call STEP,Python client with the newest gRPC)
	@$(PYTHON) -m pytest -c clients/python/pyproject.toml clients/python/tests
	$(call STEP,Python client with the oldest gRPC)
	@build/venv-oldest/bin/python -m pytest -c clients/python/pyproject.toml clients/python/tests
	$(call STEP,lint checks and mutants and page runner)
	@$(PYTEST) tests/lint tests/mutants tests/docs/test_blocks.py tests/demo tests/bench

E2E ?= secure
test-e2e: build build/venv/.client build/tools/grpcurl ## Run the end-to-end tests on the real binaries, over TLS with client certificates and a policy (E2E=plain: without)
	$(call STEP,end-to-end tests ($(E2E)))
	@FAIRLEAD_E2E=$(E2E) $(PYTEST) tests/exchange tests/e2e -n $(TESTERS)

test-docs: build build/venv/.client build/tools/grpcurl build/tools/kustomize ## Execute the blocks of README.md and docs/
	$(call STEP,pages)
	@$(PYTEST) tests/docs --ignore tests/docs/test_blocks.py

image-check: build/release/build.ninja build/venv/.client build/tools/kustomize ## Run all that deploy/ holds as far as one machine can: image, unit, Kubernetes, alerts
	$(call STEP,build the gateway and the simulated exchange)
	@$(call BUILD,release) --target fairlead exchange
	$(call STEP,image and systemd unit and Kubernetes)
	@$(PYTEST) tests/deploy -n $(TESTERS) --dist loadfile

k8s-check: build/release/build.ninja build/venv/.client build/tools/kustomize ## Render every overlay of deploy/k8s and check it; alerts and dashboard, too
	$(call STEP,build the gateway and the simulated exchange)
	@$(call BUILD,release) --target fairlead exchange
	$(call STEP,Kubernetes)
	@$(PYTEST) $(addprefix tests/deploy/test_,k8s.py k8s_pods.py shield.py alerts.py prometheus.py) -n $(TESTERS) --dist loadfile

image: ## Build the image with docker, podman or buildah (deploy/Dockerfile; BASE and IMAGE may be given)
	@deploy/image/build

fuzz: build/fuzz/build.ninja build/venv/.ready ## Run the fuzz targets for FUZZ_SECONDS (600) each, two side by side
	$(call STEP,build build/fuzz)
	@$(call BUILD,fuzz) --target fuzz
	$(call STEP,fuzz targets; what they find is kept in build/fuzz-corpus)
	@$(SANITIZERS) $(PYTHON) tests/fuzz/run.py --seconds $(FUZZ_SECONDS)

mutants: build/venv/.ready ## See that the simulation fails for each small wrong of tests/mutants (ten minutes, then one)
	$(call STEP,mutants (built and run in build/mutants))
	@$(PYTHON) tests/mutants/run.py --jobs $(JOBS)

proof: build build/venv/.client ## Measure the figures that the pages state, and write docs/proof.md (some minutes)
	$(call STEP,figures)
	@$(PYTHON) -m tests.proof.run

BENCH := build/release/build.ninja build/venv-bench/.client
BENCH_BINARIES = $(call BUILD,release) --target fairlead exchange

bench: $(BENCH) ## Measure Fairlead beside its peers, and write docs/performance.md (half an hour)
	$(call STEP,build the gateway and the simulated exchange)
	@$(BENCH_BINARIES)
	$(call STEP,benchmark)
	@build/venv-bench/bin/python -m tests.bench.run

bench-quick: $(BENCH) ## The same in less than three minutes, for a first look; writes only build/bench/quick.*
	$(call STEP,build the gateway and the simulated exchange)
	@$(BENCH_BINARIES)
	$(call STEP,benchmark)
	@build/venv-bench/bin/python -m tests.bench.run --quick

# ---- Style. ----

lint: build/venv/.client build/release/build.ninja ## Check format, layers, names, types, protos and clang-tidy
	$(call STEP,generated code for clang-tidy)
	@$(call BUILD,release) --target $(PROTOS:proto/%.proto=generated/%.pb.cc) generated/grpc/health/v1/health.pb.cc
	$(call STEP,lint)
	@$(PYTHON) tests/lint/run.py

format: build/venv/.ready ## Format C++ and Python
	@find server tests \( -name '*.h' -o -name '*.cc' \) -print0 | xargs -0 -r clang-format-19 -i
	@build/venv/bin/ruff format --quiet clients/python tests
	@build/venv/bin/ruff check --quiet --fix-only clients/python tests

clean: ## Remove everything that was made
	rm -rf build clients/python/src/fairlead/v1 .mypy_cache .ruff_cache {tests,clients/python}/.{mypy,ruff,pytest}_cache
