#!/usr/bin/env bash
# Install the servers that the test suite starts itself, where they are missing: mosquitto with its clients. Needs apt-get,
# and root or sudo. Nothing is started or enabled for longer than the tests.
set -euo pipefail

export PATH="$PATH:/usr/sbin"
if command -v mosquitto >/dev/null && command -v mosquitto_pub >/dev/null; then
  exit 0
fi

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo -n "$@"; fi
}

# Debian starts a service when it is installed; the tests start brokers of their own.
if [ ! -e /usr/sbin/policy-rc.d ]; then
  as_root sh -c "printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d && chmod 755 /usr/sbin/policy-rc.d"
  trap 'as_root rm -f /usr/sbin/policy-rc.d' EXIT
fi
as_root apt-get update -qq
as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends mosquitto mosquitto-clients
