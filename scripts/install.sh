#!/usr/bin/env bash
# Installs pinned packages; make and the image both call it, so both get the same versions.
# Usage: install.sh PYTHON REQUIREMENTS_FILE…
# TORCH_INDEX_URL adds a package index, for example PyTorch's with its builds for CPUs.
set -euo pipefail
python=$1
shift
arguments=(--disable-pip-version-check --constraint constraints.txt)
for file in "$@"; do
    arguments+=(--requirement "$file")
done
if [ -n "${TORCH_INDEX_URL:-}" ]; then
    arguments+=(--extra-index-url "$TORCH_INDEX_URL")
fi
"$python" -m pip install "${arguments[@]}"
