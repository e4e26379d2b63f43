#!/usr/bin/env bash
# Installs what is missing, builds everything, runs all tests: tools/test.sh [ARGUMENT OF ctest]...
# TAILRACE_WERROR=ON in the environment makes warnings errors, as CI does.
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages test
directory=$(build_directory)
# With tables of lines and no more: what a debugger wants besides takes g++ a third of its time.
configure "$directory" -DTAILRACE_BUILD_TESTS=ON -DTAILRACE_BUILD_BENCH=ON "-DCMAKE_CXX_FLAGS_RELWITHDEBINFO=-O2 -g1" \
  ${TAILRACE_WERROR:+"-DTAILRACE_WERROR=$TAILRACE_WERROR"}
build "$directory"

say "running the tests"
exec ctest --test-dir "$directory" --parallel 2 --output-on-failure "$@"
