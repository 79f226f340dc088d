#!/bin/sh
# Analyse the contracts with slither and fail on every finding that contracts/slither.md does not except. After
# `make setup-dev`; installs slither and forge into .cache/slither and keeps all it writes there.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/.cache/slither
project=$work/project
forge_version=1.7.1
forge_sha256=4f77da0810de94325734855d0ad58d70640aa8a5b2a837608ddf8c26da34355c # of the program for Linux on x86-64

mkdir -p "$project" "$work/home"
if ! cmp -s requirements/slither.txt "$work/installed.txt"; then
  .venv/bin/python -m venv --clear "$work/venv"
  "$work/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/slither.txt
  cp requirements/slither.txt "$work/installed.txt"
fi

find_forge() {
  find "$work/npm-$forge_version/node_modules/@foundry-rs" -path '*/forge-*/bin/forge' 2>/dev/null || :
}
forge=$(find_forge)
if [ -z "$forge" ]; then
  PYTHONPATH=scripts .venv/bin/python - "$work/npm-$forge_version" "@foundry-rs/forge@$forge_version" <<'END'
import subprocess, sys
from install_npm import QUIET, npm_command
words = [*npm_command(), "install", "--prefix", sys.argv[1], *QUIET, sys.argv[2]]
subprocess.run(words, check=True, stdout=subprocess.DEVNULL)
END
  forge=$(find_forge)
  [ -n "$forge" ] || { echo "slither.sh: npm has no forge $forge_version for this platform" >&2; exit 1; }
  chmod +x "$forge"
fi
if [ "$(uname -sm)" = "Linux x86_64" ]; then
  echo "$forge_sha256  $forge" | sha256sum --check --quiet -
fi

# forge takes the compiler and the settings of gridledger.chain.compiler; what it built before is no evidence.
rm -rf "$project/out" "$project/cache" "$work/findings.json"
ln -sfn ../../../contracts/src "$project/src"
ln -sfn ../../../contracts/node_modules "$project/node_modules"
.venv/bin/python - >"$project/foundry.toml" <<'END'
import json
from gridledger.chain.compiler import EVM_VERSION, OPTIMIZER_RUNS
from gridledger.chain.toolchain import solc_binary
print(f"""[profile.default]
src = "src"
libs = ["node_modules"]
remappings = ["@openzeppelin/=node_modules/@openzeppelin/"]
solc = {json.dumps(str(solc_binary()))}
auto_detect_solc = false
offline = true
ast = true
optimizer = true
optimizer_runs = {OPTIMIZER_RUNS}
via_ir = true
evm_version = "{EVM_VERSION}"
bytecode_hash = "none"

[lint]
lint_on_build = false""")
END

# slither asks forge for its configuration, and knows the compiler by what forge wrote.
export HOME="$work/home" PATH="${forge%/*}:$PATH" FOUNDRY_DISABLE_NIGHTLY_WARNING=1
cd "$project"
forge build --build-info --quiet
"$work/venv/bin/slither" . --ignore-compile --fail-none --json "$work/findings.json" >"$work/slither.log" 2>&1 ||
  { tail -n 20 "$work/slither.log" >&2; exit 1; }
cd ../../..
exec .venv/bin/python scripts/check_slither.py "$work/findings.json" contracts/slither.md
