#!/usr/bin/env bash
# Janus with its echo test, in a network namespace of its own: it ignores loopback.
# Says Janus's pid and where offers are taken (janus_offers.py), then runs until it is told to
# end; the namespace goes with it.
source "$(dirname "${BASH_SOURCE[0]}")/../../tests/setup/lib.sh"

# The addresses of a veth pair: ours and Janus's. From the block for benchmarks (RFC 2544).
ours=198.18.77.1 theirs=198.18.77.2
name="tg-janus-$$"
work="$(mktemp -d)"
pids=()
clean_up() {
  kill ${pids[@]+"${pids[@]}"} 2>/dev/null || true
  wait
  ip netns del "$name" 2>/dev/null || true
  rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 143' TERM INT

ip netns add "$name"
ip link add "tg$$" type veth peer name eth0 netns "$name"
ip addr add "$ours/30" dev "tg$$"
ip link set "tg$$" up
ip -n "$name" addr add "$theirs/30" dev eth0
ip -n "$name" link set eth0 up
ip -n "$name" link set lo up

library="$(dirname "$CACHE"/janus/usr/lib/*/janus/plugins)"
mkdir -p "$work"/{etc,plugins,transports,none}
ln -s "$library/plugins/libjanus_echotest.so" "$work/plugins/"
ln -s "$library/transports/libjanus_http.so" "$work/transports/"
cat >"$work/etc/janus.jcfg" <<EOF
general: { configs_folder = "$work/etc", plugins_folder = "$work/plugins", transports_folder = "$work/transports"
  events_folder = "$work/none", loggers_folder = "$work/none", debug_level = 3, session_timeout = 0, no_webrtc_encryption = false }
media: { ipv6 = false }
nat: { ice_lite = false, full_trickle = false, ignore_mdns = true }
EOF
echo 'general: { json = "compact", base_path = "/janus", http = true, port = 8088, ip = "'$theirs'" }
admin: { admin_http = false }' >"$work/etc/janus.transport.http.jcfg"

# `ip netns exec` becomes Janus, so its pid is that of the process to be measured.
ip netns exec "$name" "$CACHE/janus/usr/bin/janus" -F "$work/etc" >"$work/log" 2>&1 &
pids+=($!)
echo "pid $!"
"$CACHE/bench-venv/bin/python" "$ROOT/benches/peers/janus_offers.py" "http://$theirs:8088/janus" &
pids+=($!)
# Whichever ends first ends both; a signal interrupts `wait` and runs the trap.
wait -n
cat "$work/log" >&2
exit 1
