#!/usr/bin/env bash
# What docs/hops.md tells a newcomer to type, typed: newcomer.sh TIDEGATE. Every `sh` block from "Two Tidegates" to "When it does
# not work" but those of "In Python", which the package's own tests run, literally and in its order, in a fresh copy of what git knows of this repository, with that binary as the one
# that was built. The newcomer's recording is one of the tests'. Says at the end what came out; fails if a command does, or if nothing came.
source "$(dirname "${BASH_SOURCE[0]}")/../../tests/setup/lib.sh"

binary="$(realpath "$1")"
recording="$CACHE/fixtures/jfk.wav"
[ -f "$recording" ] || die "a recording is missing" "make setup-test"
home="$(mktemp -d)"
trap 'rm -rf "$home"' EXIT

# As it is here, uncommitted changes included.
(cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
  if [ -e "$file" ]; then printf '%s\0' "$file"; fi
done | tar --null -T - -cf -) | tar -xf - -C "$home"
mkdir -p "$home/target/release"
ln -s "$binary" "$home/target/release/tidegate"
cp "$recording" "$home/speech.wav"
cd "$home"

{
  printf 'set -e\ntrap '\''kill $(jobs -p) 2>/dev/null'\'' EXIT\n'
  awk '/^## Two Tidegates/ || /^## A worker in Python/ { on = 1 } /^## When it does not work/ || /^## In Python/ { on = 0 }
    /^```/ { typed = on && $0 == "```sh"; next } typed' docs/hops.md
} >typed.sh
bash typed.sh >said.txt 2>errors.txt || { cat errors.txt >&2; die "the guide's commands fail"; }

[ "$(stat -c %s clean.wav)" -gt 300000 ] || die "clean.wav is not there, or too short"
finals="$(grep -c '"final": *true' said.txt || true)"
[ "$finals" -ge 1 ] || { cat errors.txt >&2; die "the Python worker said nothing"; }
grep -q '"HELLO"' said.txt || { cat errors.txt >&2; die "the service by HTTP said nothing"; }
# One worker, three of them, and two: each time the same utterances.
[ $((finals % 3)) = 0 ] || { cat said.txt >&2; die "$finals utterances answered, not three times as many as there are"; }
echo "clean.wav of $(stat -c %s clean.wav) bytes, $finals utterances answered"
