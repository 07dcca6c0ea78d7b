"""What depends on the device that trains, as far as it shows without one."""

from types import SimpleNamespace

import pytest
import torch

from ofa_nas.training.placement import autocast_on, computes_bfloat16, send


def test_bfloat16_is_for_devices_that_compute_it(monkeypatch: pytest.MonkeyPatch) -> None:
    majors = {0: 7, 1: 8}  # the first is a Turing or Volta, where torch emulates it
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda device: SimpleNamespace(major=majors[device.index])
    )
    assert [computes_bfloat16(torch.device(f"cuda:{index}")) for index in majors] == [False, True]
    monkeypatch.setattr(torch.version, "hip", "6.4")
    assert computes_bfloat16(torch.device("cuda:0"))
    assert not computes_bfloat16(torch.device("cpu"))


def test_a_cpu_trains_in_float32() -> None:
    device = torch.device("cpu")
    values = torch.ones(3, 3)
    with autocast_on(device):
        assert (values @ values).dtype == torch.float32
    assert send(values, device) is values
