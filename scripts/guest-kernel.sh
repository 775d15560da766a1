#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Prints the folder into which Debian's cloud kernel is unpacked (boot/vmlinuz-*, lib/modules/*). Downloads the package once
# into a cache; nothing is installed. Without a network the newest kernel in the cache is used.
#
# usage: scripts/guest-kernel.sh        (RINGLANE_CACHE overrides ~/.cache/ringlane)
set -euo pipefail

cache=${RINGLANE_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ringlane}
kernels=$cache/kernel
meta=linux-image-cloud-amd64

die() {
    echo "guest-kernel: $*" >&2
    exit 1
}

newest_in_cache() {
    find "$kernels" -mindepth 1 -maxdepth 1 -type d -name 'linux-image-*' | sort -V | tail -n 1
}

# The meta package depends on the package of one kernel version.
find_package() {
    apt-cache depends "$meta" 2>/dev/null | sed -n 's/^ *Depends: \(linux-image-[^ ]*\)$/\1/p' | head -n 1
}

update_lists() {
    if [ "$(id -u)" = 0 ]; then
        apt-get -q update
    else
        sudo -n apt-get -q update
    fi >&2
}

download() {
    local package=$1 work
    work=$(mktemp -d "$kernels/.new.XXXXXX")
    echo "guest-kernel: downloading $package" >&2
    if (cd "$work" && apt-get -q download "$package") >&2 && dpkg-deb -x "$work"/*.deb "$work/root"; then
        mv -T "$work/root" "$kernels/$package" 2>/dev/null || true # another run may have been quicker
    fi
    rm -rf "$work"
    [ -d "$kernels/$package" ]
}

mkdir -p "$kernels" || die "cannot create $kernels"
existing=$(newest_in_cache)
if [ -z "$existing" ]; then
    command -v apt-get >/dev/null || die "no apt-get here, and no kernel in $kernels"
    package=$(find_package)
    if [ -z "$package" ] || ! download "$package"; then
        update_lists || true
        package=$(find_package)
        [ -n "$package" ] || die "$meta is not in the package lists: does apt-get update work?"
        download "$package" || die "cannot download $package"
    fi
    existing=$(newest_in_cache)
fi
echo "$existing"
