#!/bin/sh
# Run ape with the pinned compiler and anvil, offline, keeping all it writes inside the checkout: scripts/ape.sh compile
set -eu
cd "$(dirname "$0")/.."
checkout=$(pwd)

# ape copies imported packages beside the contracts; they are not sources of ours.
trap 'rm -rf contracts/src/.cache' EXIT

PATH="$checkout/.toolchain:$PATH" SOLCX_BINARY_PATH="$checkout/.toolchain" APE_DATA_FOLDER="$checkout/.build/ape" \
  .venv/bin/ape "$@"
