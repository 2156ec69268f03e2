#!/usr/bin/env bash
# What `make gpu` needs: torch and the SDK in an environment of their own, since torch brings gigabytes.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

venv="$CACHE/gpu-venv"
python_env "$venv" "$ROOT/examples/gpu/requirements.txt" --require-hashes --only-binary :all:
install_sdk "$venv"
