# What can be run here; `make help` lists it. Needs a Rust toolchain with a C
# compiler, bash and make: no Docker, no Node.

.DEFAULT_GOAL := help
SHELL := /bin/bash

# `make test-one NAME` and `make fuzz TARGET`: the second word is no target of
# ours but an argument.
ifneq (,$(filter test-one fuzz,$(firstword $(MAKECMDGOALS))))
ARGUMENT := $(word 2,$(MAKECMDGOALS))
.DEFAULT:
	@:
endif
NAME ?= $(ARGUMENT)
TARGET ?= $(ARGUMENT)
# How long each fuzz target runs.
FUZZ_SECONDS ?= 60
# How long the soak runs; flags for it, and for the benchmark.
SOAK_SECONDS ?= 3600
SOAK ?=
BENCH ?=

.PHONY: help run test test-one check bench soak fuzz accept clean

help: ## List what can be run
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

run: ## Build penstock and start a gateway with an LLM upstream of its own
	cargo run --release -p penstock -- quickstart

test: ## Run every test
	@.ci/setup
	@.ci/test

test-one: ## Run the tests whose name contains NAME: make test-one NAME
	@test -n "$(NAME)" || { echo 'usage: make test-one NAME' >&2; exit 64; }
	cargo test --workspace -- $(NAME)

check: ## Format, lints, dependencies
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	.ci/dependencies

bench: ## Measure CPU time next to nginx, latency, memory, start and reload
	cargo build --release -p penstock -p penstock-bench
	target/release/penstock-bench run $(BENCH)

soak: ## Run mixed traffic with reloads for SOAK_SECONDS, and draw docs/soak.svg
	cargo build --release -p penstock -p penstock-bench
	target/release/penstock-bench soak --seconds $(SOAK_SECONDS) $(SOAK)

fuzz: ## Fuzz every target, or one: make fuzz TARGET
	@.ci/fuzz "$(FUZZ_SECONDS)" $(TARGET)

accept: ## Write what the golden tests see into their files; review it like code
	PENSTOCK_ACCEPT=1 cargo test --workspace --no-fail-fast
	@git status --short

clean: ## Remove everything that was built
	cargo clean
	rm -rf fuzz/target fuzz/artifacts penstock-quickstart
