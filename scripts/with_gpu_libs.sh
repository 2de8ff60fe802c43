#!/usr/bin/env bash
# Runs a command with cuBLAS of the virtual environment in the loader's path, where it is
# installed; elsewhere just runs it. Usage: with_gpu_libs.sh .venv COMMAND…
set -euo pipefail
shopt -s nullglob
folders=("$(realpath "$1")"/lib/python3*/site-packages/nvidia/*/lib)
shift
if [ ${#folders[@]} != 0 ]; then
    joined=$(IFS=:; echo "${folders[*]}")
    export LD_LIBRARY_PATH="$joined${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
exec "$@"
