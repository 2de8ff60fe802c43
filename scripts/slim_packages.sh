#!/usr/bin/env bash
# Takes out of the installed packages what the app never opens, for the image.
# Usage: slim_packages.sh PYTHON          (needs strip, of binutils)
set -euo pipefail
packages=$("$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cd "$packages"
# Tests of the packages themselves.
find . -type d -name tests -prune -exec rm -r {} +
# Gradio's renderer on a server of Node, which is off (app.py), and media for its demonstrations.
rm -r gradio/templates/node gradio/media_assets
# The library for programs in C, all of which Python's module holds as well, and tools that change
# models.
rm -r onnxruntime/capi/libonnxruntime.so.* onnxruntime/transformers
# All forms of the detector but the one that vad.py reads.
find silero_vad/data -type f ! -name silero_vad_16k_sequence.onnx -delete
# Debug information of extension modules: 66 of 68 MB in CTranslate2's. Libraries that a wheel brings
# along (*.libs) stay as they are, because their headers were rewritten.
find . -name '*.so' ! -path './*.libs/*' -exec strip --strip-debug {} +
