#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Installs what a target of the front door needs from Debian 12's packages, so that `make demo` and `make check` work on a
# fresh machine. Does nothing, quickly, when everything is there. The guest's kernel is downloaded and unpacked into a cache
# (scripts/guest-kernel.sh), never installed.
#
# usage: scripts/install-deps.sh [build|check|demo|bench]
set -euo pipefail
cd "$(dirname "$0")/.."

build=(meson ninja-build gcc pkg-config liburing-dev libjansson-dev libhwloc-dev libcmocka-dev scdoc)
guest=(qemu-system-x86 qemu-system-common qemu-utils seabios busybox-static fio e2fsprogs util-linux
    sg3-utils libiscsi-bin cpio python3)
check=(clang libclang-rt-14-dev llvm clang-format shellcheck valgrind spin git)

die() {
    echo "install-deps: $*" >&2
    exit 1
}

case "${1:-build}" in
build) wanted=("${build[@]}") ;;
demo) wanted=("${build[@]}" "${guest[@]}") ;;
bench) wanted=("${build[@]}" "${guest[@]}" valgrind gnuplot-nox) ;;
check) wanted=("${build[@]}" "${guest[@]}" "${check[@]}") ;;
*) die "unknown target '$1' (build, check, demo or bench)" ;;
esac

is_installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

list_missing() {
    local package
    for package in "${wanted[@]}"; do
        is_installed "$package" || echo "$package"
    done
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        die "not root and no sudo: install these as root: ${missing[*]}"
    fi
}

command -v dpkg-query >/dev/null || die "not a Debian system: install the equivalents of: ${wanted[*]}"
mapfile -t missing < <(list_missing)

if [ "${#missing[@]}" -gt 0 ]; then
    echo "install-deps: installing ${missing[*]}"
    as_root apt-get -q update || echo "install-deps: apt-get update failed, trying with the lists there are" >&2
    as_root env DEBIAN_FRONTEND=noninteractive \
        apt-get -q install -y --no-install-recommends "${missing[@]}" ||
        die "apt-get cannot install: ${missing[*]}"
fi

case "${1:-build}" in
check | demo | bench) scripts/guest-kernel.sh >/dev/null ;;
esac
