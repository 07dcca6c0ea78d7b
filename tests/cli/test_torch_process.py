"""What a command chooses of torch."""

import pytest
import torch

from ofa_nas.cli.torch_process import pick_device
from ofa_nas.errors import ConfigError


@pytest.mark.parametrize("name", ["nonsense", "mps", "cuda:99", "cpu:x", ""])
def test_a_device_that_is_not_here_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=rf"^--device {name}: (expected auto, cpu, cuda|torch sees \d+)"):
        pick_device(name)


def test_devices_by_name() -> None:
    assert pick_device("cpu") == torch.device("cpu")
    assert pick_device("auto").type in ("cpu", "cuda")
