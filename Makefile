# `make` says what there is. Each target installs what it needs and shows what it does.
# Needs Rust (rustup) and, for most targets, a Debian whose packages can be installed.

SHELL := /bin/bash -eu -o pipefail
.DEFAULT_GOAL := help
CARGO ?= cargo
DENY_VERSION := 0.20.2
TOOLS := $(CURDIR)/target/tools
# `make sim`: how long to look for a failing seed.
SECS ?= 60
# `make chaos`: how long; another store, made empty before, as a URL; what to do before each round.
MINS ?= 10
STORE ?=
EACH_ROUND ?=

step = @printf '\n==> %s\n' '$(1)'

.PHONY: help demo run cluster test sdk mutated check check-long bench sim chaos fuzz bpf packages-demo packages-test packages-sdk tools-browser tools-python fmt deny

help: ## What there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

demo: packages-demo ## One call between two SIPp phones, shown as it happens
	$(call step,building)
	@$(CARGO) build --locked --bin revbridge --example demo
	$(call step,calling)
	@target/debug/examples/demo

run: ## Serve config.example.toml on loopback
	$(call step,serving config.example.toml)
	@$(CARGO) run --locked --bin revbridge -- serve --config config.example.toml

cluster: ## Two nodes, PostgreSQL and HAProxy on loopback, until Ctrl-C
	$(call step,building)
	@$(CARGO) build --locked --bin revbridge
	$(call step,starting)
	@deploy/cluster/up

test: packages-test packages-sdk tools-browser tools-python ## Every test, on both engines: units, API, SIPp, baresip, browsers, simulator, crashes, SDK
	@scripts/test

sdk: packages-sdk ## The browser SDK: its types, promises, tests, size
	$(call step,browser SDK)
	@cd sdk && npm ci --no-audit --no-fund --loglevel=error && npm run -s check && npm run -s test && npm run -s size

check: fmt ## What CI runs first: format, lints, docs, dependencies, tidiness
	$(call step,lints)
	@$(CARGO) clippy --locked --all-targets -- -D warnings
	$(call step,documentation)
	@RUSTDOCFLAGS='-D warnings' $(CARGO) doc --locked --no-deps --document-private-items
	@$(MAKE) --no-print-directory deny
	$(call step,tidiness)
	@$(CARGO) test --locked --test tidy

fmt:
	$(call step,format)
	@$(CARGO) fmt --check

# Advisories need a database that is fetched at run time; a service that can reach it runs
# `cargo deny check advisories` on a schedule. Here: what does not change by itself.
deny:
	$(call step,dependencies)
	@scripts/install-cargo-deny $(DENY_VERSION) $(TOOLS)
	@$(TOOLS)/bin/cargo-deny --all-features check --hide-inclusion-graph licenses bans sources

check-long: check fuzz ## `check`, and each fuzz target for a minute

fuzz: ## Each fuzz target for FUZZ_SECS seconds (60)
	@scripts/fuzz $${FUZZ_SECS:-60}

mutated: ## A million broken messages through the two legs of a call
	$(call step,a million broken messages)
	@REVBRIDGE_MUTATED=1000000 $(CARGO) test --locked --test sip mutated -- --nocapture

bench: ## The table of figures, measured on this machine
	$(call step,measuring)
	@$(CARGO) bench --locked

sim: ## Random seeds through the simulator for SECS seconds (60)
	$(call step,simulating for $(SECS) s)
	@$(CARGO) sim -- --secs $(SECS)

chaos: ## Kills, drains and races under load for MINS minutes (10), the books proved after each
	$(call step,a storm of $(MINS) minutes)
	@$(CARGO) test --locked --test chaos -- --secs $$(( $(MINS) * 60 )) \
	  $(if $(STORE),--store '$(STORE)') $(if $(EACH_ROUND),--each-round '$(EACH_ROUND)')

# The paths of this machine stay out of the object; the sums say that it belongs to its source.
bpf: ## Compile the kernel's part of relaying again, after a change of relay.c
	@scripts/install-packages clang llvm libc6-dev
	$(call step,compiling relay.c for the kernel)
	@cd src/server/media/fast_path && clang -O2 -g -Wall -Werror -fno-strict-aliasing -fdebug-compilation-dir=. \
	  -target bpf -I/usr/include/$$(uname -m)-linux-gnu -c relay.c -o relay.o && llvm-strip -g relay.o
	@cd src/server/media/fast_path && sha256sum relay.c relay.o > relay.sha256

packages-demo:
	@scripts/install-packages sip-tester

packages-test:
	@scripts/install-packages sip-tester baresip-core baresip-ffmpeg tshark sox tcpdump iproute2 curl \
	  iptables chromium coturn python3-venv openssl postgresql haproxy sipvicious kamailio kamailio-tls-modules dnsmasq-base

# Node may also come from elsewhere than Debian.
packages-sdk:
	@{ command -v node && command -v npm; } >/dev/null || scripts/install-packages nodejs npm

tools-python: packages-test
	@scripts/install-python-tools $(TOOLS)/python

tools-browser: packages-test packages-sdk
	@scripts/install-browser-tools $(TOOLS)/browser
