#!/usr/bin/env bash
# Builds the gateway, the bare peers and the runners for release, and runs one of them (compare,
# hops, turns): servers on core 0, loads on core 1. Further arguments go to it: names of measurements, --repeat.
source "$(dirname "${BASH_SOURCE[0]}")/../../tests/setup/lib.sh"
cd "$ROOT"
[ "$(nproc)" -ge 2 ] || die "this needs two cores: one for the server, one for the load"
runner="$1"
shift
cargo build --locked --release -p tidegate-gateway -p tidegate-benches -p tidegate-bench-vad
mkdir -p "$CACHE"
exec taskset -c 1 "${CARGO_TARGET_DIR:-target}/release/$runner" --out "$CACHE/bench-$runner.md" "$@"
