# The commands of this project. `make demo` and `make test` need nothing else on Debian and Ubuntu: they
# install what is missing (as root or with sudo); elsewhere they name it.

SHELL := /bin/bash
export PATH := $(PATH):$(HOME)/.cargo/bin
target := $(if $(CARGO_TARGET_DIR),$(CARGO_TARGET_DIR),target)
triple = $(shell rustc -vV | sed -n 's/^host: //p' | tr a-z- A-Z_)
# Pools, sshd and servers of other users are root's business. Only what is run needs it, not the build.
sudo := $(if $(filter 0,$(shell id -u)),,sudo --preserve-env=PATH,HOME,CI,RESEED_FAULTS,RESEED_SEED,RESEED_PG_DIR,RESEED_LAB_MODULES,RESEED_BENCH_SCALE,RESEED_BENCH_MB,RESEED_BENCH_ROUNDS,XDG_CACHE_HOME)
as_root = $(if $(sudo),CARGO_TARGET_$(triple)_RUNNER='$(sudo)')

.PHONY: help demo build test test-openzfs test-faults soak test-s3-ceph lint alone deny docs bench fuzz pg-versions seaweedfs install

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## a primary under load and a standby on the best storage that is here: seed it, reset it  (ARGS="--via s3")
	@scripts/install build
	@$(if $(findstring s3,$(ARGS)),scripts/install s3 && scripts/get-seaweedfs)
	@echo "building reseed; the first time takes some minutes"
	@cargo build --release --bin reseed
	@if [ "$$(id -u)" = 0 ] || sudo -n true 2>/dev/null || { [ -t 0 ] && command -v sudo >/dev/null; }; then \
	  scripts/install lab && $(sudo) $(target)/release/reseed demo $(ARGS); \
	else $(target)/release/reseed demo $(ARGS); fi

build: ## the release binary
	@scripts/install build
	cargo build --release --bin reseed

# The last lines are the runner's own summary of all tests, so doc tests go first.
test: pg-versions seaweedfs ## every test, on real parts
	@scripts/install build lab
	cargo build --bin reseed
	cargo test --quiet --workspace --doc
	@if cargo nextest --version >/dev/null 2>&1; then \
	  set -x; $(as_root) cargo nextest run --workspace $(if $(CI),--profile ci); \
	else \
	  echo "cargo-nextest is not installed; cargo test does it, slower"; \
	  set -x; $(as_root) cargo test --workspace --lib --bins --tests -- --test-threads 1; \
	fi

test-openzfs: ## the tests on today's OpenZFS, in two virtual machines (root, on Debian 12; parts in a cache)
	@scripts/install build
	$(sudo) tests/lab/openzfs/lab setup
	@if cargo nextest --version >/dev/null 2>&1; then \
	  set -x; $(as_root) cargo nextest run -p reseed-tests --features openzfs --test openzfs $(if $(CI),--profile ci); \
	else \
	  set -x; $(as_root) cargo test -p reseed-tests --features openzfs --test openzfs -- --test-threads 1; \
	fi

test-faults: seaweedfs ## kill -9 between every two writes of the journal, at 100 random moments, and of puts; 50 power cuts; takes hours
	@scripts/install build lab
	cargo build --quiet --bin reseed
	set -x; RESEED_FAULTS=all $(as_root) cargo test -p reseed-tests --test unwind_kill --test unwind_power --test e2e_resume -- --test-threads 1 --nocapture

soak: ## 24 resets in a row under load, on btrfs and on ZFS: what they use does not grow
	@scripts/install build lab
	set -x; RESEED_SOAK=24 $(as_root) cargo test -p reseed-tests --test e2e_soak -- --test-threads 1 --nocapture

test-s3-ceph: ## the suite of stores on Ceph's S3 server, in a chroot of its own (root; not in `make test`)
	@scripts/install build
	cargo test --quiet -p reseed-transport-s3 --test behaviour --no-run
	$(sudo) tests/lab/ceph-rgw cargo test -p reseed-transport-s3 --test behaviour -- --test-threads 1

lint: ## formatting, clippy, documentation: all without a warning
	@scripts/install build
	cargo fmt --all --check
	cargo clippy --quiet --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --workspace --no-deps

alone: ## each crate by itself and without its default features
	@scripts/install build
	@for crate in $$(sed -n 's/^name = "\(reseed-[a-z0-9-]*\)"/\1/p' crates/*/Cargo.toml); do \
	  echo "$$crate"; cargo clippy --quiet -p "$$crate" --all-targets --no-default-features -- -D warnings || exit 1; \
	done

deny: ## licences, sources and banned crates among the dependencies (deny.toml)
	@scripts/install build
	@command -v cargo-deny >/dev/null || cargo install --locked cargo-deny
	cargo deny --locked check licenses bans sources

docs: ## the reference and the schema, written anew from the code
	@scripts/install build
	@mkdir -p docs/reference
	cargo build --quiet --bin reseed
	$(target)/debug/reseed stages --markdown > docs/reference/stages.md
	$(target)/debug/reseed man --markdown > docs/reference/commands.md
	$(target)/debug/reseed schema > docs/pipeline.schema.json

bench: seaweedfs ## what reseed costs, as ratios within one run
	@scripts/install build lab bench
	cargo build --quiet --release --bin reseed
	cargo bench --quiet -p reseed-core --bench pipe
	cargo bench --quiet -p reseed-storage-zfs --bench reader
	$(as_root) cargo bench --quiet -p reseed-tests --bench reset
	$(as_root) cargo bench --quiet -p reseed-tests --bench staged

fuzz: ## every fuzz target under libFuzzer for SECONDS each  (SECONDS=300 ARGS="guard frames")
	@scripts/install build
	scripts/fuzz $(or $(SECONDS),60) $(ARGS)

pg-versions: ## PostgreSQL servers of other major versions, for the tests, in a cache
	@scripts/install versions
	@scripts/get-postgres

seaweedfs: ## an S3 server for the tests, in a cache
	@scripts/install s3
	@scripts/get-seaweedfs

install: build ## to PREFIX/bin, by default /usr/local/bin  (DESTDIR="/tmp/package" PREFIX=/usr)
	$(if $(sudo),sudo) install -D -m 755 $(target)/release/reseed $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/reseed
