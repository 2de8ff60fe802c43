#!/usr/bin/env bash
# Makes the stand-in for python:3.11-slim-bookworm where no registry can be reached: Debian's own
# Python 3.11 in the smallest Debian, from the mirror that this machine uses.
# Usage: base_image.sh TAG          (as root; needs debootstrap and a Docker engine)
set -euo pipefail
tag=$1
# Two that start together would make two, and one would lose its name in the middle of a build.
exec 9>"${TMPDIR:-/tmp}/whisper-for-subs-base.lock"
flock 9
if docker image inspect "$tag" >/dev/null 2>&1; then
    exit 0
fi
folder=$(mktemp --directory)
trap 'rm -rf "$folder"' EXIT
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep --max-count=1 /debian/)
packages=ca-certificates,python3,python3-pip,python3-venv
debootstrap --variant=minbase --include="$packages" bookworm "$folder/root" "$mirror" >"$folder/log" \
    || { cat "$folder/log" >&2; exit 1; }
ln -s python3 "$folder/root/usr/bin/python"
# As in the image it stands for: no index of packages, no mirror's address, no manuals.
cd "$folder/root"
rm -rf etc/apt/sources.list* var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* \
    usr/share/man/* usr/share/locale/* usr/share/python-wheels/__pycache__
tar --create --numeric-owner . | docker import --change 'CMD ["python3"]' - "$tag" >/dev/null
