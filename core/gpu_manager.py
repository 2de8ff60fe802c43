"""Where the owner's documents import ``gpu_manager`` from; ``gpu.manager`` has it."""

from gpu.manager import GpuManager, gpu_manager

__all__ = ["GpuManager", "gpu_manager"]
