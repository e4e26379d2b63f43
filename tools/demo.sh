#!/usr/bin/env bash
# Installs what is missing, builds, runs the demo: tools/demo.sh [ARGUMENT OF tailrace-demo]...
set -euo pipefail
# shellcheck source=tools/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_packages demo
directory=$(build_directory)
# The demo needs no test packages. But a build directory that has the tests already keeps them.
without_tests=()
[[ -e $directory/CMakeCache.txt ]] || without_tests=(-DTAILRACE_BUILD_TESTS=OFF -DTAILRACE_BUILD_BENCH=OFF)
configure "$directory" "${without_tests[@]}"
build "$directory" tailrace_cli tailrace_demo

say "running tailrace-demo $*"
exec "$directory/bin/tailrace-demo" "$@"
