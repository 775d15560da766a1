#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# The main job in front of your eyes: a Linux guest with four CPUs on a disk that ringlaned serves.
#
# usage: scripts/demo.sh [BUILD-DIRECTORY]      (make demo installs what is missing and builds first)
set -euo pipefail
cd "$(dirname "$0")/.."
exec python3 -B scripts/demo.py "${1:-build}"
