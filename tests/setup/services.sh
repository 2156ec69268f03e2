#!/usr/bin/env bash
# What the services of examples/services need: Apertium and espeak-ng, and a Python environment with the models in it.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

packages=()
have apertium || packages+=(apertium)
[ -e /usr/share/apertium/modes/eng-spa.mode ] || packages+=(apertium-eng-spa)
have espeak-ng || packages+=(espeak-ng)
[ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"

services="$ROOT/examples/services"
venv="$CACHE/services-venv"
python_env "$venv" "$services/requirements.txt" --require-hashes --only-binary :all:

install_sdk "$venv"
# In place: what is changed there is served at the next start.
"$venv/bin/pip" show -q --disable-pip-version-check tidegate-services 2>/dev/null ||
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation --editable "$services"
