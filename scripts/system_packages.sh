#!/usr/bin/env bash
# Installs Debian packages whose program is missing. Usage: system_packages.sh PROGRAM=PACKAGE…
set -euo pipefail
# Debian keeps PostgreSQL's programs out of the PATH, because it may have several versions.
for folder in /usr/lib/postgresql/*/bin; do
    PATH=$PATH:$folder
done
missing=()
for pair in "$@"; do
    command -v "${pair%%=*}" >/dev/null 2>&1 || missing+=("${pair#*=}")
done
if [ ${#missing[@]} = 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "Missing programs. On Debian or Ubuntu: sudo apt-get install ${missing[*]}" >&2
    exit 1
fi
apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}"
