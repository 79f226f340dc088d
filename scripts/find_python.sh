#!/bin/sh
# Print the Python 3.11 or 3.12 to build the environment with: $PYTHON if set, else the first one that fits.
set -eu

fits() {
  version=$("$1" -c 'import sys, venv, ensurepip; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || return 1
  [ "$version" = 3.11 ] || [ "$version" = 3.12 ]
}

for candidate in ${PYTHON:-python3 python3.12 python3.11}; do
  if fits "$candidate"; then
    command -v "$candidate"
    exit 0
  fi
done

if [ -n "${PYTHON:-}" ]; then
  echo "PYTHON=$PYTHON is not a Python 3.11 or 3.12 with the venv and ensurepip modules." >&2
else
  echo "No Python 3.11 or 3.12 with the venv and ensurepip modules was found (tried python3, python3.12, python3.11)." >&2
fi
echo "On Debian: apt-get install python3 python3-venv. Another one: make setup PYTHON=/path/to/python3.12" >&2
exit 1
