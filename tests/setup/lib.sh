# Shared by the set-up scripts: sourced, never run. Every step first looks whether its
# work is done, so that a second run takes a second and needs no network.
# shellcheck shell=bash

set -euo pipefail

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
CACHE="$ROOT/.cache"
export ROOT CACHE

say() { printf '· %s\n' "$*" >&2; }

# die WHAT MEND: stops with what is wrong and how to mend it.
die() {
  printf '✗ %s\n' "$1" >&2
  [ $# -lt 2 ] || printf '  %s\n' "$2" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

# as_root COMMAND…: runs it as root, by sudo where we are not.
as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "'$*' needs root, and there is no sudo here" "run it as root once, then start again"
  fi
}

# apt_install PACKAGE…: by apt-get; the package lists are fetched only when the first try fails.
apt_install() {
  have apt-get || die "this needs the packages: $*" "there is no apt-get here; install their like by hand, then start again"
  say "apt-get install $*"
  local log
  log="$(mktemp)"
  apt_get install -y --no-install-recommends "$@" >"$log" 2>&1 && { rm -f "$log"; return; }
  apt_get update >>"$log" 2>&1 || true
  if ! apt_get install -y --no-install-recommends "$@" >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    rm -f "$log"
    die "apt-get could not install: $*" "the lines above say why"
  fi
  rm -f "$log"
}

# Waits for another apt-get of this machine instead of failing beside it.
apt_get() { as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -o DPkg::Lock::Timeout=300 "$@" </dev/null; }

# unpack_deb PACKAGE FOLDER: a Debian package's files without installing it, so that no
# service of it starts on the user's machine.
unpack_deb() {
  local package="$1" folder="$2" down
  have apt-get || die "this needs the Debian package $package" "there is no apt-get here"
  say "unpacking Debian's $package"
  down="$(mktemp -d)"
  chmod 755 "$down"
  (cd "$down" && { apt-get -q download "$package" >/dev/null 2>&1 ||
    { apt_get update >/dev/null 2>&1; apt-get -q download "$package" >/dev/null; }; }) ||
    die "apt-get could not download $package"
  rm -rf "$folder"
  mkdir -p "$folder"
  dpkg-deb -x "$down"/*.deb "$folder"
  rm -rf "$down"
}

# unpack_deb_with_libraries PACKAGE FOLDER: the same with the shared libraries that are not
# installed here, for a program that is started with LD_LIBRARY_PATH.
unpack_deb_with_libraries() {
  local package="$1" folder="$2" down missing
  have apt-get || die "this needs the Debian package $package" "there is no apt-get here"
  say "unpacking Debian's $package and its libraries"
  down="$(mktemp -d)"
  chmod 755 "$down"
  # What an installation would add or renew; a simulation needs no rights and changes nothing.
  would_install() { apt-get -q -s install --no-install-recommends "$package" 2>/dev/null | awk '$1 == "Inst" && ($2 ~ /^lib/ || $2 == "'"$package"'") { print $2 }'; }
  missing="$(would_install || true)"
  # shellcheck disable=SC2086 # a list of package names
  (cd "$down" && { { [ -n "$missing" ] && apt-get -q download $missing >/dev/null 2>&1; } ||
    { apt_get update >/dev/null 2>&1; missing="$(would_install)"; apt-get -q download ${missing:-"$package"} >/dev/null; }; }) ||
    die "apt-get could not download $package"
  rm -rf "$folder"
  mkdir -p "$folder"
  local deb
  for deb in "$down"/*.deb; do dpkg-deb -x "$deb" "$folder"; done
  rm -rf "$down"
}

# node_major: the installed Node's major version, 0 without one.
node_major() { { have node && node -p 'process.versions.node.split(".")[0]'; } 2>/dev/null || echo 0; }

# npm_ci FOLDER: installs what its lock file says, unless that was done already.
npm_ci() {
  local folder="$1" stamp="$1/node_modules/.tidegate-lock"
  if ! cmp -s "$folder/package-lock.json" "$stamp"; then
    say "npm ci in ${folder#"$ROOT/"}"
    (cd "$folder" && npm ci --no-audit --no-fund --loglevel=error </dev/null) || die "npm ci failed in $folder"
    cp "$folder/package-lock.json" "$stamp"
  fi
}

# python_env VENV REQUIREMENTS [PIP-OPTIONS...]: a Python environment with what a list asks for, made anew when the list has changed.
python_env() {
  local venv="$1" list="$2"
  shift 2
  # Debian splits `ensurepip` off its Python: without it `venv` cannot make an environment.
  python3 -c 'import ensurepip, venv' 2>/dev/null || apt_install python3 python3-venv
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    die "$(python3 --version) is too old: 3.11 or newer is needed" "install a newer Python as python3, then start again"
  if ! cmp -s "$list" "$venv/.tidegate-requirements"; then
    say "Python environment in ${venv#"$ROOT/"}"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check "$@" -r "$list"
    cp "$list" "$venv/.tidegate-requirements"
  fi
}

# install_sdk VENV: the Python SDK into an environment that has what it is built with. Again only when something of it has
# changed: building takes some seconds.
install_sdk() {
  local venv="$1" sum
  sum="$(cd "$ROOT" && find sdk/python/src sdk/python/pyproject.toml sdk/python/hatch_build.py proto/tidegate -type f \
    -not -path '*/__pycache__/*' -not -path '*/_generated/*' -print0 | sort -z | xargs -0 sha256sum | sha256sum)"
  [ "$sum" != "$(cat "$venv/.tidegate-sdk" 2>/dev/null)" ] || return 0
  say "the SDK from sdk/python"
  "$venv/bin/pip" install -q --disable-pip-version-check --no-deps --no-build-isolation --force-reinstall "$ROOT/sdk/python"
  printf '%s\n' "$sum" >"$venv/.tidegate-sdk"
}
