#!/usr/bin/env bash
# Peers that speak the Open Inference Protocol: a client (tritonclient) and a server (MLServer) in one Python environment, and a
# real Triton, on the CPU, in another. Some 600 MB and a minute together.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

python_env "$CACHE/kserve-venv" "$ROOT/tests/requirements-kserve.txt" --require-hashes --only-binary :all:
python_env "$CACHE/triton-venv" "$ROOT/tests/requirements-triton.txt" --require-hashes --only-binary :all:

# Triton's Python models load the interpreter as a library, which Debian packs apart from the program.
library="$("$CACHE/triton-venv/bin/python" -c 'import sys; print("libpython%d.%d" % sys.version_info[:2])')"
libdir="$("$CACHE/triton-venv/bin/python" -c 'import sysconfig; print(sysconfig.get_config_var("LIBDIR"))')"
[ -e "$libdir/$library.so.1.0" ] || ldconfig -p | grep -q "$library.so.1.0" || apt_install "$library"
