#!/usr/bin/env bash
# The benchmark's peers, heavy and only for `make bench`: Janus, Envoy, Pipecat (with aiortc).
source "$(dirname "${BASH_SOURCE[0]}")/../../tests/setup/lib.sh"
"$ROOT/tests/setup/build.sh"

packages=()
have ip || packages+=(iproute2)
have taskset || packages+=(util-linux)
# What Janus with its HTTP transport and echo test links; the rest of its plugins stays out.
janus="$CACHE/janus/usr/bin/janus"
[ -x "$janus" ] || unpack_deb janus "$CACHE/janus"
if ldd "$janus" | grep -q 'not found' || ! ldconfig -p | grep -q libmicrohttpd; then
  packages+=(libconfig9 libcurl4 libglib2.0-0 libjansson4 libmicrohttpd12 libnice10 libogg0 libopus0 libsrtp2-1 libusrsctp2)
fi
[ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"

venv="$CACHE/bench-venv"
python_env "$venv" "$ROOT/benches/peers/requirements.txt"
