# What can be done with scenetap. Each target sets up what it needs.

.DEFAULT_GOAL := help
.PHONY: help setup build demo test bench lint golden parity suite faults fuzz soak load clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what this machine lacks (Debian, Ubuntu)
	@sh scripts/setup.sh

build: setup ## build the optimised program: target/release/scenetap
	cargo build --release --locked

demo: build ## record a shipped stream at its own pace and show each frame as it lands
	@bash scripts/demo.sh

test: setup ## run all tests: make test ARGS="--test it parity"
	@bash scripts/test.sh $(ARGS)

bench: setup ## measure each stage, in bytes and pictures a second
	cargo bench --locked

lint: setup ## format, clippy, documentation, shell scripts, licences
	@bash scripts/lint.sh

golden: setup ## make the golden verdicts again, with the ffmpeg that is installed
	bash scripts/golden.sh

parity: build ## compare with ffmpeg, picture by picture: make parity FILES="a.ts b.ts"
	@bash scripts/parity.sh $(FILES)

suite: ## build and test on another Debian suite: make suite SUITE=trixie
	@bash scripts/on-suite.sh $(SUITE)

faults: setup ## kill it before every change to the disk, and fill the disk at every one
	SCENETAP_FAULTS=all cargo test --locked --test it faults:: -- --nocapture

SECONDS ?= 60
fuzz: build ## fuzz each parser for a minute: make fuzz SECONDS=60
	@bash scripts/fuzz.sh $(SECONDS)

soak: setup ## record with everything that goes wrong: make soak SECONDS=3600
	SCENETAP_SOAK_SECONDS=$(SECONDS) cargo test --locked --test it soak:: -- --nocapture

load: setup ## eight senders into eight recorders; one as fast as it goes, of 2 GiB
	SCENETAP_LOAD_MIB=2048 cargo test --locked --test it load:: -- --nocapture --test-threads 1

clean: ## remove what was built
	cargo clean
