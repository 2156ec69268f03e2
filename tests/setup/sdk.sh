#!/usr/bin/env bash
# What the tests of the Python SDK need: an environment of their own, with the package in it as a user would install it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"


sdk="$ROOT/sdk/python"
venv="$CACHE/sdk-venv"
python_env "$venv" "$sdk/requirements.txt" --require-hashes --only-binary :all:

install_sdk "$venv"
# Its types are looked at in the source, which needs what the build made.
[ "$(cat "$venv/.tidegate-sdk")" = "$(cat "$venv/.tidegate-generated" 2>/dev/null)" ] || {
  "$venv/bin/python" "$sdk/hatch_build.py"
  cp "$venv/.tidegate-sdk" "$venv/.tidegate-generated"
}
