"""Settings of the process that must be made before torch is first imported."""

import os


def calm_threads() -> None:
    """Let waiting threads sleep: spinning ones starve each other on a busy machine."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def prepare_torch(*, threads: int | None = None) -> None:
    """Import torch for a long computation on this machine.

    Args:
        threads: Of the CPU; None for torch's own choice.
    """
    calm_threads()
    import torch

    from ofa_nas.training.allocator import keep_freed_memory

    keep_freed_memory()
    if threads is not None:
        torch.set_num_threads(threads)
