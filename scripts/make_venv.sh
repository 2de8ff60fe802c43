#!/usr/bin/env bash
# Makes the virtual environment with the newest Python the pinned packages are tested with, or
# keeps a working one. Usage: make_venv.sh FOLDER   (PYTHON=/path/to/python chooses another)
set -euo pipefail
folder=$1

if [ -x "$folder/bin/python" ] && "$folder/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi

new_enough() {
    command -v "$1" >/dev/null 2>&1 &&
        "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2])' 2>/dev/null
}

python=""
for candidate in ${PYTHON:-python3 python3.11 python3.12 python3.13}; do
    if new_enough "$candidate"; then
        python=$candidate
        break
    fi
done
if [ -z "$python" ]; then
    echo "Python 3.11 or newer is needed and none was found (looked for: ${PYTHON:-python3, python3.11 to python3.13})." >&2
    echo "Install one (Debian, Ubuntu: apt-get install python3 python3-venv) or call make with PYTHON=/path/to/python." >&2
    exit 1
fi

# Debian and Ubuntu cut ensurepip out of Python and put it into python3-venv.
if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        apt-get update -q
        DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "$version-venv"
    else
        echo "$python cannot make virtual environments: ensurepip is missing." >&2
        echo "Run: sudo apt-get install $version-venv" >&2
        exit 1
    fi
fi

rm -rf "$folder"
"$python" -m venv "$folder"
