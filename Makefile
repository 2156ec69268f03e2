# Tidegate's commands. `make run` and `make test` are all that a fresh clone needs: each
# installs what it lacks. The rest are their parts.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Cargo honours CARGO_TARGET_DIR by itself; the path is needed here to start what was built.
TARGET := $(or $(CARGO_TARGET_DIR),target)
ARGS ?=
# The Python SDK's own environment.
SDK := $(abspath .cache/sdk-venv/bin)
# That of the example services, models included.
SERVICES := $(abspath .cache/services-venv/bin)
# That of the GPU example, with torch.
GPU := $(abspath .cache/gpu-venv/bin)
# Seconds for all tests together, many times what they take: one that hangs is named and ends the run.
TEST_TIMEOUT ?= 1500

.PHONY: help run test build web setup setup-test check fmt clippy doc deny links test-web test-rust test-sdk test-services setup-services demo gpu bench bench-sdk bench-hops bench-turns bench-voice bench-setup

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build everything and start the gateway; ARGS="--listen …" go to `tidegate serve`
	exec $(TARGET)/release/tidegate serve $(ARGS)

demo: build setup-services ## speech in, Spanish out: three services with real models and a gateway; prints the page's address; Ctrl-C stops all
	exec $(SERVICES)/python -m tidegate_services.demo $(TARGET)/release/tidegate $(ARGS)

gpu: build ## the GPU example: torch behind 1, 8 and 64 sessions, with and without batching (installs 5 GB; runs on the CPU where there is no CUDA)
	tests/setup/gpu.sh
	cd examples/gpu && $(GPU)/ruff check . && $(GPU)/ruff format --check . && $(GPU)/mypy --strict embed.py measure.py && $(GPU)/pytest -q .
	$(GPU)/python examples/gpu/measure.py $(TARGET)/release/tidegate $(ARGS)

test: check test-web test-rust test-sdk test-services links ## everything that CI runs

build: web ## the release binary, with the page in it
	cargo build --locked --release -p tidegate-gateway

setup: ## install what the build needs (cmake, Node)
	tests/setup/build.sh

setup-test: ## install what the tests need (Chromium, Prometheus, coturn, Python clients, recordings)
	tests/setup/peers.sh

setup-services: ## install what the example services need (Apertium, espeak-ng, a Python environment with models)
	tests/setup/services.sh

web: setup ## the page and the browser client
	tests/setup/web.sh

check: fmt clippy doc deny ## what needs no running

fmt:
	cargo fmt --all --check

clippy: web
	cargo clippy --locked --workspace --all-targets -- -D warnings

doc: web
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps

links: ## the documentation's links lead somewhere
	python3 tests/links.py

deny: ## licences, bans and sources of the dependencies
	tests/setup/deny.sh

test-web: web ## the browser client's own tests
	cd web && npm run --silent lint && npm test

test-rust: web setup-test ## unit, simulation and end-to-end tests
	cargo build --locked --workspace --bin tidegate
	cargo test --locked --workspace --no-run
	TIDEGATE_BIN=$(abspath $(TARGET))/debug/tidegate \
	  timeout --kill-after=10 $(TEST_TIMEOUT) cargo test --locked --workspace --no-fail-fast

test-sdk: web ## the Python SDK's lints and tests, against the gateway's binary
	tests/setup/sdk.sh
	cargo build --locked --workspace --bin tidegate
	cd sdk/python && $(SDK)/ruff check . && $(SDK)/ruff format --check . && $(SDK)/mypy
	cd sdk/python && TIDEGATE_BIN=$(abspath $(TARGET))/debug/tidegate \
	  timeout --kill-after=10 $(TEST_TIMEOUT) $(SDK)/pytest

test-services: web setup-test setup-services ## the example services with their real models, through the gateway's binary
	cargo build --locked --workspace --bin tidegate
	cd examples/services && $(SERVICES)/ruff check . && $(SERVICES)/ruff format --check . && $(SERVICES)/mypy
	cd examples/services && TIDEGATE_BIN=$(abspath $(TARGET))/debug/tidegate \
	  timeout --kill-after=10 $(TEST_TIMEOUT) $(SERVICES)/pytest

bench-setup: setup ## install the benchmark's peers (Janus, Envoy, Pipecat; heavy)
	benches/peers/setup.sh

bench: web ## the measurements of docs/performance.md, peers in the same run
	benches/peers/bench.sh compare $(ARGS)
	benches/peers/bench.sh hops

bench-hops: web setup-test ## what is owed of remote hops, with real processes that are killed and stalled
	benches/peers/bench.sh hops $(ARGS)

bench-sdk: ## what a hop of the Python SDK costs beside a bare grpc.aio service
	tests/setup/sdk.sh
	$(SDK)/python benches/peers/sdk_overhead.py $(ARGS)

bench-turns: web bench-setup setup-test ## a voice agent's turns beside Pipecat's, before the same speech services, by the number of sessions
	benches/peers/bench.sh turns $(ARGS)

bench-voice: build setup-test setup-services ## with real services: what a turn consists of, how soon an interrupted answer is silent, and replicas that are killed (9 minutes)
	cd examples/services && $(SERVICES)/ruff check ../../benches/voice && $(SERVICES)/ruff format --check ../../benches/voice
	export TIDEGATE_BIN=$(abspath $(TARGET))/release/tidegate PYTHONPATH=examples/services/tests:sdk/python/tests; failed=0; \
	  $(SERVICES)/python benches/voice/turns.py || failed=1; \
	  $(SERVICES)/python benches/voice/kills.py $(ARGS) || failed=1; \
	  exit $$failed
