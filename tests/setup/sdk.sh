#!/usr/bin/env bash
# What the tests of the Python SDK need: an environment of their own, with the package in it as a user would install it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv

sdk="$ROOT/sdk/python"
venv="$CACHE/sdk-venv"
if ! cmp -s "$sdk/requirements.txt" "$venv/.tidegate-requirements"; then
  say "Python environment in .cache/sdk-venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$sdk/requirements.txt"
  cp "$sdk/requirements.txt" "$venv/.tidegate-requirements"
fi

install_sdk "$venv"
# Its types are looked at in the source, which needs what the build made.
[ "$(cat "$venv/.tidegate-sdk")" = "$(cat "$venv/.tidegate-generated" 2>/dev/null)" ] || {
  "$venv/bin/python" "$sdk/hatch_build.py"
  cp "$venv/.tidegate-sdk" "$venv/.tidegate-generated"
}
