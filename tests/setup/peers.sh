#!/usr/bin/env bash
# What `make test` needs beyond the build: Chromium, Prometheus, coturn, a Python environment with
# real clients, a driver for the browser, recordings, cargo-deny.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/tests/setup/build.sh"

packages=()
have chromium || packages+=(chromium)
have python3 || packages+=(python3)
# Debian splits `ensurepip` off its Python: without it `venv` cannot make an environment.
python3 -c 'import ensurepip, venv' 2>/dev/null || packages+=(python3-venv)
[ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"

[ -x "$CACHE/prometheus/usr/bin/promtool" ] || unpack_deb prometheus "$CACHE/prometheus"
[ -x "$CACHE/coturn/usr/bin/turnserver" ] || unpack_deb_with_libraries coturn "$CACHE/coturn"

venv="$CACHE/venv"
if ! cmp -s "$ROOT/tests/requirements.txt" "$venv/.tidegate-requirements"; then
  say "Python environment in .cache/venv"
  rm -rf "$venv"
  python3 -m venv "$venv"
  "$venv/bin/pip" install -q --disable-pip-version-check --require-hashes --only-binary :all: -r "$ROOT/tests/requirements.txt"
  cp "$ROOT/tests/requirements.txt" "$venv/.tidegate-requirements"
fi

npm_ci "$ROOT/tests/peers"
"$ROOT/tests/setup/fixtures.sh"
