#!/usr/bin/env bash
# Installs the app's pinned packages; make and the image both call it, so both get the same versions.
# Usage: install.sh PYTHON REQUIREMENTS_FILE…
# requirements-vad.txt is installed without what it asks for: only a model file of it is read.
# So is requirements-peers.txt, whose packages ask for other versions than ours.
set -euo pipefail
python=$1
shift
# pip would call it an error that silero-vad is here without torch.
pip=("$python" -m pip install --disable-pip-version-check --no-warn-conflicts)
pip+=(--constraint constraints.txt)
arguments=()
for file in "$@"; do
    if [ "$file" = requirements-vad.txt ] || [ "$file" = requirements-peers.txt ]; then
        "${pip[@]}" --no-deps --requirement "$file"
    else
        arguments+=(--requirement "$file")
    fi
done
if [ ${#arguments[@]} != 0 ]; then
    "${pip[@]}" "${arguments[@]}"
fi
