#!/usr/bin/env bash
# Lets Compose itself read docker-compose.yml, with every profile and every kind
# of GPU support. No engine has to run.
set -euo pipefail
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null 2>&1; then
    compose=(docker-compose)
else
    echo "Neither 'docker compose' nor docker-compose is here to check docker-compose.yml." >&2
    exit 1
fi
for file in deploy/gpus/*.yml; do
    WHISPER_GPUS=$(basename "$file" .yml) "${compose[@]}" --file docker-compose.yml \
        --profile monitoring --profile postgres config --quiet
done
