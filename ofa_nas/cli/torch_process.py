"""What a command chooses of torch: settings that must be made before it is first imported, and the device."""

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


def check_alone(command: str) -> None:
    """Refuse to be one of several processes of `torchrun`, where a command does not share its work.

    Raises:
        ConfigError: It is.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        from ofa_nas.errors import ConfigError

        raise ConfigError(f"{command} runs in one process, on one device: start it without torchrun")


def calm_threads() -> None:
    """Let waiting threads sleep: spinning ones starve each other on a busy machine."""
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def prepare_process() -> None:
    """What a command that calibrates or evaluates chooses before torch is imported, which it may never be."""
    from ofa_nas.training.allocator import keep_freed_memory

    calm_threads()
    keep_freed_memory()


def prepare_torch(*, threads: int | None = None, is_lean: bool = False) -> None:
    """Import torch for a long computation on this machine.

    Args:
        threads: Of the CPU; None for torch's own choice, no more than a container's quota leaves it.
        is_lean: Give freed memory back, where little memory counts for more than time.
    """
    calm_threads()
    import torch

    from ofa_nas.devices.agent import usable_cores
    from ofa_nas.training.allocator import keep_freed_memory

    if not is_lean:
        keep_freed_memory()
    if threads is None and usable_cores() < torch.get_num_threads():
        threads = usable_cores()  # above it all would wait for the one that is throttled
    if threads is not None:
        torch.set_num_threads(threads)


def pick_device(name: str) -> "torch.device":
    """The torch device of a name: `auto`, `cpu`, `cuda`, `cuda:1`.

    `auto` and `cuda` are this process's own CUDA device where several were started together, which cannot all
    have the same one.

    Raises:
        ConfigError: There is no such device here.
    """
    import torch

    from ofa_nas.errors import ConfigError
    from ofa_nas.training.distributed import local_rank

    usual = "cuda" if torch.cuda.is_available() else "cpu"
    asked, rank = usual if name == "auto" else name, local_rank()
    try:
        device = torch.device(f"cuda:{rank}" if asked == "cuda" else asked)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if asked != "cuda" and device.type == "cuda" and int(os.environ.get("LOCAL_WORLD_SIZE", "1")) > 1:
        raise ConfigError(
            f"--device {name}: each process of torchrun has a CUDA device of its own: give --device cuda; "
            "CUDA_VISIBLE_DEVICES says which there are"
        )
    if device.type == "cuda" and device.index >= torch.cuda.device_count():
        others = f", and this is process {rank + 1} here" if asked == "cuda" and rank else ""
        raise ConfigError(
            f"--device {name}: torch sees {torch.cuda.device_count()} CUDA devices here{others}"
        )
    return device
