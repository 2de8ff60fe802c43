"""Memory and abilities of GPUs: read, estimated, learned, planned with. No CUDA context is made."""
