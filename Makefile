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

.PHONY: help run test test-one check bench fuzz accept clean

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

bench: ## Measure start, reload and memory of a release build
	cargo build --release -p penstock
	benches/configuration.sh
	@if command -v nginx wrk bc >/dev/null; then benches/proxy.sh; \
	else echo 'benches/proxy.sh needs nginx, wrk and bc: left out'; fi

fuzz: ## Fuzz every target, or one: make fuzz TARGET
	@.ci/fuzz "$(FUZZ_SECONDS)" $(TARGET)

accept: ## Write what the golden tests see into their files; review it like code
	PENSTOCK_ACCEPT=1 cargo test --workspace --no-fail-fast
	@git status --short

clean: ## Remove everything that was built
	cargo clean
	rm -rf fuzz/target fuzz/artifacts penstock-quickstart
