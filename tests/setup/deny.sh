#!/usr/bin/env bash
# Licences, bans and sources of all dependencies, by cargo-deny. The tool is compiled once
# (about three minutes on two cores) into the user's cache, where other clones find it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

version=0.20.2
tools="${XDG_CACHE_HOME:-$HOME/.cache}/tidegate/tools"
mkdir -p "$tools" 2>/dev/null && [ -w "$tools" ] || tools="$CACHE/tools"
deny="$tools/bin/cargo-deny"

if [ "$("$deny" --version 2>/dev/null)" != "cargo-deny $version" ]; then
  say "compiling cargo-deny $version (once)"
  build="$(mktemp -d)"
  trap 'rm -rf "$build"' EXIT
  (cd "$build" && CARGO_TARGET_DIR="$build/target" cargo install -q --locked --force --root "$tools" cargo-deny --version "=$version")
fi

cd "$ROOT"
"$deny" --all-features check --hide-inclusion-graph licenses bans sources

# Advisories live in a git repository of their own, which a closed network does not reach.
advisories="$(mktemp)"
if "$deny" --all-features check advisories >"$advisories" 2>&1; then
  say "advisories ok"
elif grep -qE 'failed to (fetch|clone|open|load|acquire|update).*(advisory|database|db)|failed to prepare fetch|advisory database' "$advisories"; then
  echo "advisories NOT RUN: their database is out of reach from here"
else
  cat "$advisories" >&2
  exit 1
fi
