#!/usr/bin/env bash
# Lets Compose itself read docker-compose.yml, with every profile. No engine has to run.
set -euo pipefail
if docker compose version >/dev/null 2>&1; then
    compose=(docker compose)
elif command -v docker-compose >/dev/null 2>&1; then
    compose=(docker-compose)
else
    echo "Neither 'docker compose' nor docker-compose is here to check docker-compose.yml." >&2
    exit 1
fi
"${compose[@]}" --file docker-compose.yml --profile cpu --profile monitoring config --quiet
