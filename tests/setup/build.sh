#!/usr/bin/env bash
# What building Tidegate needs beyond Rust: a C compiler, cmake (libopus) and Node (the page).
source "$(dirname "${BASH_SOURCE[0]}")/lib.sh"

have cargo || die "there is no Rust here" "install it as https://rustup.rs says, then start again"

packages=()
have cc || packages+=(gcc libc6-dev)
have c++ || packages+=(g++)
have cmake || packages+=(cmake)
have make || packages+=(make)
[ "$(node_major)" -ge 18 ] || packages+=(nodejs)
have npm || packages+=(npm)
[ ${#packages[@]} = 0 ] || apt_install "${packages[@]}"

[ "$(node_major)" -ge 18 ] || die "Node $(node --version 2>/dev/null || echo) is too old: the page needs 18 or newer" \
  "install a newer Node, then start again"
