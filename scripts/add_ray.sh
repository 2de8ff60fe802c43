#!/usr/bin/env bash
# Adds Ray to an image: what a cluster of ours uses of it, compiled, because a container may not write.
set -euo pipefail
scripts/install.sh python requirements-cluster.txt
ray=$(python -c "import pathlib, ray; print(pathlib.Path(ray.__file__).parent)")
# Java's part of it.
rm -rf "$ray/jars"
python -m compileall -q -x '/(data|llm|rllib|serve|train|tune)/' "$ray"
