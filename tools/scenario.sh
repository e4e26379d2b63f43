#!/usr/bin/env bash
# A user directory in three stores, under fire: tools/scenario.sh [--seconds N] [--seed N] [--without-gate]
# Installs what is missing, builds, and runs tools/scenario/scenario.py. docs/event-sourcing.md says what is seen.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages test
directory=$(build_directory)
without_tests=()
[[ -e $directory/CMakeCache.txt ]] || without_tests=(-DTAILRACE_BUILD_TESTS=OFF -DTAILRACE_BUILD_BENCH=OFF)
configure "$directory" "${without_tests[@]}"
build "$directory" tailrace_cli

say "running the scenario"
PYTHONDONTWRITEBYTECODE=1 TAILRACE_BIN="$directory/bin/tailrace" exec python3 "$root/tools/scenario/scenario.py" "$@"
