#!/usr/bin/env bash
# envoy.sh ENVOY CONFIG PORT: starts Envoy, and says where it listens once it does.
set -euo pipefail
"$1" --config-path "$2" --concurrency 1 --base-id $((RANDOM % 1000)) --log-level error &
envoy=$!
trap 'kill $envoy 2>/dev/null; wait' EXIT
trap 'exit 143' TERM INT
echo "pid $envoy"
for _ in $(seq 200); do
  if (exec 3<>"/dev/tcp/127.0.0.1/$3") 2>/dev/null; then
    echo "listening on http://127.0.0.1:$3"
    break
  fi
  kill -0 $envoy
  sleep 0.05
done
wait -n
