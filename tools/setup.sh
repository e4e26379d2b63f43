#!/usr/bin/env bash
# What demo.sh, test.sh and .ci/run share: installing missing Debian packages, and building.
# Also a command of its own: tools/setup.sh demo|test|ci only installs.
#   demo   what the library, the command line and the demo need
#   test   and what tests and benchmarks need
#   ci     and the second compiler, its sanitizers and the linters
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

say() { echo "tailrace: $*"; }

# install_packages GROUP: quick and without apt when nothing is missing; root is needed only then.
install_packages() {
  local wanted missing=() package as_root
  wanted=(build-essential cmake ninja-build pkg-config python3 libisal-dev libexpected-dev libfmt-dev
    libcli11-dev nlohmann-json3-dev libsimdjson-dev liburing-dev libxxhash-dev libboost-dev
    libsqlite3-dev libpq-dev libhiredis-dev)
  case "${1:-}" in
    demo) ;;
    test | ci) wanted+=(libgtest-dev libgmock-dev libbenchmark-dev librapidcheck-dev sqlite3 postgresql redis-server) ;;
    *) say "usage: tools/setup.sh demo|test|ci" >&2 && return 2 ;;
  esac
  [[ $1 != ci ]] || wanted+=(clang clang-format clang-tidy libclang-rt-14-dev shellcheck)

  if ! command -v dpkg-query >/dev/null; then
    say "not a Debian system: going on as if these were installed: ${wanted[*]}" >&2
    return
  fi
  for package in "${wanted[@]}"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0

  if ((EUID == 0)); then
    as_root=()
  elif command -v sudo >/dev/null; then
    as_root=(sudo)
  else
    say "packages are missing, this is not root, and there is no sudo. As root, run:" >&2
    say "  apt-get update && apt-get install ${missing[*]}" >&2
    return 1
  fi
  say "installing ${missing[*]}"
  # env behind sudo, because sudo drops variables that are set before it.
  # An unreachable list of somebody else's packages must not stop us; a missing package of ours will.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq update ||
    say "apt-get update had errors, trying to install all the same" >&2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends \
    "${missing[@]}" >/dev/null
}

# Prints the build directory: $TAILRACE_BUILD_DIR, or build/ in the checkout, or, where that belongs to
# somebody else, one in the user's cache.
build_directory() {
  local directory=${TAILRACE_BUILD_DIR:-$root/build}
  if ! mkdir -p "$directory" 2>/dev/null || [[ ! -w $directory ]]; then
    directory=${XDG_CACHE_HOME:-$HOME/.cache}/tailrace-build-$(cksum <<<"$root" | cut -d ' ' -f 1)
    mkdir -p "$directory"
  fi
  echo "$directory"
}

# configure DIRECTORY [CMAKE ARGUMENT]...
configure() {
  local directory=$1 start=()
  shift
  say "configuring $directory"
  # A build directory that somebody made keeps its generator; one that came along with a copied tree is made anew.
  if ! grep -qsFx "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$directory/CMakeCache.txt"; then
    start=(--fresh -G Ninja)
  fi
  cmake -S "$root" -B "$directory" "${start[@]}" --log-level=WARNING "$@"
}

# build DIRECTORY [TARGET]...
build() {
  local directory=$1
  shift
  say "building in $directory"
  cmake --build "$directory" --parallel "$(nproc)" ${1:+--target "$@"}
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
  install_packages "${1:-}"
fi
