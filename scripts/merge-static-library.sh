#!/bin/sh
# SPDX-License-Identifier: MIT
# One static library out of several, of which only the exported symbols can be seen.
#
# Why: the project's folders call their functions error_set or queue_new; a program that links the static library must be free
# to have functions of the same names.
#
# What link-time optimisation left beside the code is taken out: it belongs to objects that are not here any more, and gcc
# would use it instead of the code.
#
# usage: scripts/merge-static-library.sh OUTPUT.a INPUT.a...
set -eu
output=$1
shift
object=$output.o
trap 'rm -f "$object"' EXIT
ld -r -o "$object" --whole-archive "$@"
objcopy --localize-hidden --remove-section='.gnu.lto_*' --remove-section='.gnu.debuglto_*' "$object"
rm -f "$output"
ar rcs "$output" "$object"
