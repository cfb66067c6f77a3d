# Targets for development. Each one installs what it needs.

.DEFAULT_GOAL := help
.PHONY: help setup build dist distcheck tagcheck demo guide test bench instructions compare lint golden parity suite faults fuzz soak load clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## install what this machine lacks (Debian, Ubuntu)
	@sh scripts/setup.sh

build: setup ## build the optimized program: target/release/scenetap
	cargo build --release --locked

dist: ## build a release: archive, packages, digests and SBOM in dist/
	@sh scripts/setup.sh dist
	@bash scripts/dist.sh

distcheck: ## run the release in bare Debian systems and in a container, and install its packages
	@MIRROR=$(MIRROR) bash scripts/distcheck.sh $(SUITES)
	@bash scripts/containercheck.sh

tagcheck: ## refuse a tag that differs from the version: make tagcheck TAG=v0.1.0
	@bash scripts/tagcheck.sh "$(TAG)"

# DIST=1 uses the program that `make dist` has built.
demo: $(if $(DIST),,build) ## record a sample clip in real time and print each frame as it is kept
	@$(if $(DIST),SCENETAP=target/dist/package/scenetap )bash scripts/demo.sh

guide: build ## run the commands of docs/GUIDE.md again, and write their output
	@python3 scripts/guide.py $(ARGS)

test: setup ## run all tests: make test ARGS="--test it parity"
	@bash scripts/test.sh $(ARGS)

bench: setup ## measure each stage, in bytes and pictures per second
	cargo bench --locked

instructions: setup ## count the instructions of the hot paths, and compare: make instructions ARGS=--write
	@bash scripts/instructions.sh $(ARGS)

compare: build ## compare with ffmpeg and other peers; write docs/PERFORMANCE.md: make compare FILM=film.ts LIVE=live.ts
	python3 scripts/compare.py $(if $(FILM),--film $(FILM)) $(if $(LIVE),--live $(LIVE)) \
		$(if $(OLD_SYSTEM),--old-system $(OLD_SYSTEM))

lint: setup ## check format, clippy, documentation, shell scripts, licenses
	@bash scripts/lint.sh

golden: setup ## write the golden verdicts with the installed ffmpeg
	bash scripts/golden.sh

parity: build ## compare with ffmpeg, picture by picture: make parity FILES="a.ts b.ts"
	@bash scripts/parity.sh $(FILES)

suite: ## build and test on another Debian suite: make suite SUITE=trixie
	@bash scripts/on-suite.sh $(SUITE)

faults: setup ## kill the recorder, or fill the disk, at every change to the disk
	SCENETAP_FAULTS=all cargo test --locked --test it faults:: -- --nocapture

SECONDS ?= 60
fuzz: build ## fuzz each parser for a minute: make fuzz SECONDS=60
	@bash scripts/fuzz.sh $(SECONDS)

soak: setup ## record while all faults occur: make soak SECONDS=3600
	SCENETAP_SOAK_SECONDS=$(SECONDS) cargo test --locked --test it soak:: -- --nocapture

load: setup ## test eight senders with eight recorders, then one sender of 2 GiB at full speed
	SCENETAP_LOAD_MIB=2048 cargo test --locked --test it load:: -- --nocapture --test-threads 1

clean: ## remove build results
	cargo clean
