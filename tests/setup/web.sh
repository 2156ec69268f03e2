#!/usr/bin/env bash
# Builds the page and the browser client, unless nothing under web/ is newer than the last build.
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

npm_ci "$ROOT/web"
stamp="$ROOT/web/node_modules/.tidegate-built"
changed="$(find "$ROOT/web" \( -name node_modules -o -name dist \) -prune -o -type f -newer "$stamp" -print -quit 2>/dev/null || echo yes)"
if [ ! -e "$stamp" ] || [ ! -e "$ROOT/web/page/dist/index.html" ] || [ -n "$changed" ]; then
  say "building the page"
  (cd "$ROOT/web" && npm run --silent build </dev/null) || die "the page does not build"
  touch "$stamp"
fi
