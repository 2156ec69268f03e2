#!/usr/bin/env bash
# What `make test` needs beyond the build: Chromium, Prometheus, coturn, a Python environment with
# real clients, a driver for the browser, recordings, cargo-deny.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
"$ROOT/tests/setup/build.sh"

packages=()
have chromium || packages+=(chromium)
# The operator's guide is followed with these.
have curl || packages+=(curl)
have openssl || packages+=(openssl)
have systemd-analyze || packages+=(systemd)
[ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"

[ -x "$CACHE/prometheus/usr/bin/promtool" ] || unpack_deb prometheus "$CACHE/prometheus"
[ -x "$CACHE/coturn/usr/bin/turnserver" ] || unpack_deb_with_libraries coturn "$CACHE/coturn"

venv="$CACHE/venv"
python_env "$venv" "$ROOT/tests/requirements.txt" --require-hashes --only-binary :all:

npm_ci "$ROOT/tests/peers"
"$ROOT/tests/setup/kserve.sh"
"$ROOT/tests/setup/chat.sh"
"$ROOT/tests/setup/fixtures.sh"
