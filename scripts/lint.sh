#!/bin/bash
# All checks that do not run the program.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo fmt --check
cargo fmt --check --manifest-path fuzz/Cargo.toml
cargo clippy --locked --all-targets -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --quiet
# Check the fuzz targets, without libFuzzer, so that they compile with the current code.
RUSTFLAGS="--cfg fuzzing -D warnings" cargo check --locked --quiet --no-default-features \
    --manifest-path fuzz/Cargo.toml --target-dir target/fuzz-check
if command -v shellcheck >/dev/null; then
    shellcheck scripts/*.sh .ci/run
else
    echo "lint: shellcheck is not installed, skipping shell scripts"
fi
if cargo deny --version >/dev/null 2>&1; then
    cargo deny --locked check
else
    echo "lint: cargo-deny is not installed, skipping licenses and advisories"
fi
