#!/usr/bin/env bash
# Builds the gateway, the bare peers and the runner for release, and runs it: servers on core 0,
# loads on core 1. Arguments go to the runner: names of measurements, --seconds, --repeat.
source "$(dirname "${BASH_SOURCE[0]}")/../../tests/setup/lib.sh"
cd "$ROOT"
[ "$(nproc)" -ge 2 ] || die "this needs two cores: one for the server, one for the load"
cargo build --locked --release -p tidegate-gateway -p tidegate-benches
mkdir -p "$CACHE"
exec taskset -c 1 "${CARGO_TARGET_DIR:-target}/release/compare" --out "$CACHE/bench.md" "$@"
