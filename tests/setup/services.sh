#!/usr/bin/env bash
# What the services of examples/services need: Apertium and espeak-ng, and a Python environment with the models in it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages=()
have apertium || packages+=(apertium)
[ -e /usr/share/apertium/modes/eng-spa.mode ] || packages+=(apertium-eng-spa)
have espeak-ng || packages+=(espeak-ng)
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3 python3-venv)
[ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"

services="$ROOT/examples/services"
venv="$CACHE/services-venv"
if ! cmp -s "$services/requirements.txt" "$venv/.tidegate-requirements"; then
  say "Python environment in .cache/services-venv (the models are 280 MB)"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$services/requirements.txt"
  cp "$services/requirements.txt" "$venv/.tidegate-requirements"
fi

install_sdk "$venv"
# In place: what is changed there is served at the next start.
"$venv/bin/pip" show -q --disable-pip-version-check tidegate-services 2>/dev/null ||
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation --editable "$services"
