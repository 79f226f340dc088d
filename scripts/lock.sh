#!/usr/bin/env bash
# Make the lock files anew from pyproject.toml and contracts/package.json. Needs uv (on PATH or as UV=...), npm and the network.
# The development set comes first; the service set is a subset of it in the same versions.
# No lock file names a registry: whoever installs chooses theirs, the hashes decide.
set -euo pipefail
cd "$(dirname "$0")/.."

lock_python() {
  "${UV:-uv}" pip compile "$@" --quiet --universal --python-version 3.11 --generate-hashes --no-annotate --no-emit-index-url
}

lock_python pyproject.toml --group dev --extra grid -o requirements/dev.txt
lock_python pyproject.toml --group build -c requirements/dev.txt -o requirements/service.txt
lock_python requirements/node.in -o requirements/node.txt
lock_python requirements/slither.in -o requirements/slither.txt

(cd contracts && npm install --package-lock-only --omit-lockfile-registry-resolved --ignore-scripts --no-audit --no-fund)
python3 scripts/complete_npm_lock.py contracts/package-lock.json

if grep -nE '"resolved"|https?://[^ "]*/-/' contracts/package-lock.json || grep -nE '^--(extra-)?index-url' requirements/*.txt; then
  echo "lock.sh: a lock file names a registry" >&2
  exit 1
fi
