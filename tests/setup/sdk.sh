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

# Again only when something of it has changed: building takes some seconds.
sum="$(cd "$ROOT" && find sdk/python/src sdk/python/pyproject.toml sdk/python/hatch_build.py proto/tidegate -type f \
  -not -path '*/__pycache__/*' -not -path '*/_generated/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)"
if [ "$sum" != "$(cat "$venv/.tidegate-sdk" 2>/dev/null)" ]; then
  say "the SDK from sdk/python"
  # What it is built with was installed above, pinned.
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall "$sdk"
  # Its types are looked at in the source, which needs what the build made.
  "$venv/bin/python" "$sdk/hatch_build.py"
  printf '%s\n' "$sum" >"$venv/.tidegate-sdk"
fi
