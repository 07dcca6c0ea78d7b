"""Execution providers: how an address names one, what is refused, and tables of a real one.

The wheel of ONNX Runtime holds Azure's provider beside the CPU's, which takes no operator of a network. The
tests of OpenVINO need the Python of an environment with numpy and onnxruntime-openvino, named in
`$OFA_NAS_OPENVINO_PYTHON`; `.ci/run` makes one where it can be installed.
"""

import json
import os
import re
import subprocess
import zipfile
from contextlib import suppress
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import NoReturn

import numpy as np
import onnxruntime
import pytest

from ofa_nas.devices import (
    Answering,
    Device,
    DeviceInfo,
    MeasuringProtocol,
    Model,
    Profile,
    agent,
    backend_of,
    is_address,
    open_device,
    provider_of,
)
from ofa_nas.devices.host import Host
from ofa_nas.devices.provided import Provided, provided_name, split_provider, with_provider
from ofa_nas.errors import ConfigError, DeviceError, TableError
from ofa_nas.export.answers import judge_answers
from ofa_nas.latency.bundle import collect, write_bundle
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.references import reference_models
from ofa_nas.latency.shelf import default_name, is_fresh
from ofa_nas.latency.table import LatencyTable
from ofa_nas.latency.verification import find_changes_of_machine
from ofa_nas.space.search_space import SearchSpace
from tests.devices.conftest import Loopback

FAST = MeasuringProtocol(
    rounds=2, max_rounds=2, visit_ms=0.0, retries=0, profile_runs=5, profile_skip=2, profile_sittings=1
)
OPENVINO = os.environ.get("OFA_NAS_OPENVINO_PYTHON", "")
needs_openvino = pytest.mark.skipif(
    not OPENVINO, reason="OFA_NAS_OPENVINO_PYTHON names no Python with onnxruntime-openvino"
)
needs_azure = pytest.mark.skipif(
    "AzureExecutionProvider" not in onnxruntime.get_available_providers(), reason="this wheel has no Azure"
)


@pytest.mark.parametrize(
    ("address", "place", "provider"),
    [
        ("host", "host", ""),
        ("host+openvino", "host", "openvino"),
        ("host+OpenVINO,device_type=GPU", "host", "openvino,device_type=GPU"),
        ("ssh+cuda://pi@board:22/usr/bin/python3", "ssh://pi@board:22/usr/bin/python3", "cuda"),
        ("ssh+qnn,a=1,b=c.d://board", "ssh://board", "qnn,a=1,b=c.d"),
        ("my_lab.jetson+tensorrt://one", "my_lab.jetson://one", "tensorrt"),
        ("ssh://a+b@board", "ssh://a+b@board", ""),
        ("host+", "host+", ""),
        ("host+a b", "host+a b", ""),
        ("host+cpu", "host+cpu", ""),
        ("ssh+CPU,a=b://board", "ssh+CPU,a=b://board", ""),
        ("host+cpux", "host", "cpux"),
        ("host+qnn,backend_path=/evil.so", "host+qnn,backend_path=/evil.so", ""),
    ],
)
def test_an_address_names_a_provider_behind_a_plus(address: str, place: str, provider: str) -> None:
    assert split_provider(address) == (place, provider)
    assert provider_of(address) == provider
    assert backend_of(address) == place.split("://", maxsplit=1)[0]
    assert is_address(address)


@pytest.mark.parametrize(
    ("address", "provider", "whole"),
    [
        ("host", "", "host"),
        ("", "cuda", ""),
        ("host", "openvino,device_type=GPU", "host+openvino,device_type=GPU"),
        ("host+openvino", "openvino", "host+openvino"),
        ("ssh://pi@board:22/usr/bin/python3", "cuda", "ssh+cuda://pi@board:22/usr/bin/python3"),
    ],
)
def test_an_address_without_a_provider_can_be_given_one(address: str, provider: str, whole: str) -> None:
    assert with_provider(address, provider) == whole


@pytest.mark.parametrize(
    ("provider", "name"),
    [
        ("", "host"),
        ("cuda", "host-cuda"),
        ("cuda,device_id=1", "host-cuda-1"),
        ("openvino,device_type=GPU.1", "host-openvino-gpu-1"),
    ],
)
def test_a_device_is_called_by_its_provider(provider: str, name: str) -> None:
    assert provided_name("host", provider) == name


def test_other_options_make_another_name() -> None:
    """Characters that no name has, capitals, keys and the order are told apart too."""
    values = ("GPU.1", "GPU-1", "GPU:1", "GPU_1", "gpu.1", "GPU1", "GPU", "GPU.", "GPU-", "1", "a.b", "A.B")
    keys = ("device_type", "device_id", "device", "x")
    options = [f"{key}={value}" for key in keys for value in values]
    providers = ["openvino", *(f"openvino,{one}" for one in options)]
    providers += [f"openvino,{one},{other}" for one, other in permutations(options, 2)]
    names = {provided_name("host", one) for one in providers}
    assert len(names) == len(providers)
    assert all(re.fullmatch(r"host-openvino(-[a-z0-9]+)*", one) for one in names)
    assert provided_name("host", "openvino,a=b") == "host-openvino-b-1a905eb4"  # the same on every machine


@pytest.mark.parametrize(
    ("text", "name", "options"),
    [
        ("", "CPUExecutionProvider", {}),
        ("cuda", "CUDAExecutionProvider", {}),
        ("openvino", "OpenVINOExecutionProvider", {"num_of_threads": "3"}),
        ("openvino,num_of_threads=1,device_type=GPU", "OpenVINOExecutionProvider", None),
    ],
)
def test_onnxruntime_is_asked_for_the_provider(text: str, name: str, options: dict[str, str] | None) -> None:
    available = ["CUDAExecutionProvider", "OpenVINOExecutionProvider", "CPUExecutionProvider"]
    own = {"num_of_threads": "1", "device_type": "GPU"} if options is None else options
    assert agent.find_provider(text, available, threads=3) == (name, own)


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("host+cuda", r"^host: onnxruntime here has no execution provider cuda, but "),
        ("host+", r"there is no 'host\+' to measure"),
        (
            "host+qnn,backend_path=/evil.so",
            r"there is no 'host\+qnn,backend_path=/evil.so' to measure",
        ),
        ("host+a=b", r"there is no 'host\+a=b' to measure"),
        ("host+cpu", r"there is no 'host\+cpu' to measure: this machine is host"),
        ("rpi4+cuda://x", "there is no "),
    ],
)
def test_a_provider_that_is_not_there_is_refused(address: str, told: str) -> None:
    with pytest.raises(DeviceError, match=told):
        open_device(address).info()


def test_a_session_with_a_provider_that_is_not_there_is_refused(tiny: SearchSpace) -> None:
    device = Provided(open_device("host"), "cuda")
    with pytest.raises(DeviceError, match="has no execution provider cuda"):
        next(iter(device.time(list(reference_models(tiny)), FAST)))


@pytest.mark.parametrize(
    ("provider", "is_strict"),
    [("", False), ("openvino", False), ("openvino,device_type=NPU", True)],
)
def test_openvino_may_not_take_the_cpu_for_its_npu(
    tiny: SearchSpace, monkeypatch: pytest.MonkeyPatch, provider: str, is_strict: bool
) -> None:
    """It would where the NPU's compiler refuses a network, and tell only its log."""
    found: list[str] = []

    def refuse(_: bytes, options: onnxruntime.SessionOptions, *__: object, **___: object) -> NoReturn:
        with suppress(RuntimeError):  # it raises where nobody added it
            found.append(options.get_session_config_entry("session.disable_cpu_ep_fallback"))
        raise RuntimeError("refused")

    available = ["OpenVINOExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", refuse)
    alone = f" on {provider} alone" * is_strict
    with pytest.raises(agent.AgentError, match=rf"refuses model reference [^ ]*{alone}: refused"):
        agent.Runner(next(reference_models(tiny)), MeasuringProtocol(provider=provider))
    assert found == ["1"] * is_strict


@needs_azure
def test_a_provider_that_takes_nothing_is_refused_before_anything_is_timed(tiny: SearchSpace) -> None:
    device = open_device("host+azure")
    info = device.info()
    assert (info.name, info.provider) == ("host-azure", "azure")
    assert info.runtime == f"onnxruntime {onnxruntime.__version__}, azure"
    assert default_name("host+azure", info) == "host-azure"
    with pytest.raises(DeviceError, match=r"azure takes no operator of model .*: all of it would run"):
        list(profile_device(device, tiny, protocol=FAST, resolutions=[24]))
    with pytest.raises(DeviceError, match=r"azure takes no operator of model .*: all of it would run"):
        next(iter(device.time(list(reference_models(tiny)), FAST)))


class Recorder:
    """A backend that tells what it was asked."""

    def __init__(self) -> None:
        self.asked: list[MeasuringProtocol] = []

    def info(self) -> DeviceInfo:
        return DeviceInfo("My.Board", "cpu", 1, "1.24.1", {})

    def time(self, models: object, protocol: MeasuringProtocol) -> list[Profile]:
        self.asked.append(protocol)
        return []

    profile = time

    def forget(self) -> None:
        self.asked.clear()


def test_every_backend_can_be_asked_for_a_provider() -> None:
    inner = Recorder()
    device: Device = Provided(inner, "openvino,device_type=GPU.1")  # type: ignore[arg-type]
    assert device.info().name == "my-board-openvino-gpu-1"
    assert list(device.time([], FAST)) == []
    assert list(device.profile([], FAST)) == []
    assert [one.provider for one in inner.asked] == ["openvino,device_type=GPU.1"] * 2
    device.forget()
    assert not inner.asked
    assert not isinstance(open_device("tests.devices.unasked+cuda://one"), Answering)
    assert isinstance(open_device("host+cuda"), Answering)


@pytest.mark.parametrize("provider", ["a b", "qnn,x=/y", "cuda,", ",a=b", "cuda,a", "cpu"])
def test_a_text_that_is_no_provider_is_refused(tiny: SearchSpace, tmp_path: Path, provider: str) -> None:
    protocol = MeasuringProtocol(provider=provider)
    with pytest.raises(ConfigError, match=r"^execution provider .*: expected a name such as cuda"):
        list(write_bundle(tmp_path / "b.zip", tiny, protocol=protocol))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("provider", "package"),
    [
        ("", "numpy onnxruntime"),
        ("CUDA", "numpy onnxruntime-gpu"),
        ("openvino,device_type=GPU", "numpy onnxruntime-openvino"),
        ("rknpu", "numpy PACKAGE"),
    ],
)
def test_a_bundle_says_which_package_its_provider_needs(
    tiny: SearchSpace, tmp_path: Path, provider: str, package: str
) -> None:
    """In small letters, as an address has it: a table is compared with those."""
    name = provider.partition(",")[0].lower()
    list(write_bundle(tmp_path / "b.zip", tiny, protocol=replace(FAST, provider=provider), resolutions=[24]))
    with zipfile.ZipFile(tmp_path / "b.zip") as archive:
        readme = archive.read("README.txt").decode()
        job = json.loads(archive.read("job.json"))
    assert job["protocol"]["provider"].partition(",")[0] == name
    assert readme.count(f"{package}\n") == 3
    assert (f"a package of onnxruntime that has {name}" in readme) is bool(provider)


def test_processor_time_tells_nothing_of_a_provider(tiny: SearchSpace, tmp_path: Path) -> None:
    protocol = MeasuringProtocol(provider="cuda", clock="cpu")
    with pytest.raises(ConfigError, match="cuda may compute elsewhere: measure it by the wall clock"):
        list(write_bundle(tmp_path / "b.zip", tiny, protocol=protocol))


@pytest.fixture(scope="module")
def openvino_table(tiny: SearchSpace, tmp_path_factory: pytest.TempPathFactory) -> LatencyTable:
    """Of a bundle that an environment with OpenVINO has measured."""
    folder = tmp_path_factory.mktemp("openvino")
    protocol = MeasuringProtocol(
        provider="openvino", rounds=4, max_rounds=4, visit_ms=5.0, profile_sittings=1, profile_runs=10
    )
    list(write_bundle(folder / "b.zip", tiny, protocol=protocol, resolutions=[24]))
    with zipfile.ZipFile(folder / "b.zip") as archive:
        archive.extractall(folder / "board")
    environment = {name: text for name, text in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        [OPENVINO, folder / "board" / "agent.py"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return collect(folder / "board" / "results.jsonl", folder / "b.zip", name="vino").table


@needs_openvino
@pytest.mark.slow
def test_a_table_of_openvino_is_fitted_to_whole_networks(
    openvino_table: LatencyTable, tiny: SearchSpace, tmp_path: Path
) -> None:
    table = openvino_table
    assert table.measured
    assert table.provider == "openvino"
    assert table.device.runtime.endswith(", openvino")
    assert not [note for note in table.notes if "to the CPU" in note]  # it takes all of such networks
    assert all(row.ms > 0 and row.other_ms == 0 for row in table.measured.rows)
    assert table.error
    assert table.error.p50 < 0.5  # beside other tests any network may seem ten times as slow
    for holdout in table.measured.holdouts:
        arch = tiny.parse(holdout.architecture)
        assert table.latency_ms(tiny, arch) == pytest.approx(holdout.predicted_ms, abs=1e-5)
    table.save(tmp_path / "t.json")
    again = LatencyTable.load(tmp_path / "t.json")
    assert (again.provider, again.device) == (table.provider, table.device)


@needs_openvino
@pytest.mark.slow
def test_a_table_of_one_provider_is_not_held_against_another(
    openvino_table: LatencyTable,
) -> None:
    assert openvino_table.measured
    there = dict(openvino_table.measured.environment)
    assert there["provider"] == "openvino"
    assert find_changes_of_machine(openvino_table, there) == ()
    del there["provider"]  # an address without one takes the table's
    assert find_changes_of_machine(openvino_table, there) == ()
    with pytest.raises(TableError, match="vino is of openvino, and the address that is to be timed of cuda"):
        find_changes_of_machine(openvino_table, {**there, "provider": "cuda"})


@needs_openvino
@pytest.mark.slow
def test_a_table_is_fresh_for_its_own_provider_only(openvino_table: LatencyTable, tiny: SearchSpace) -> None:
    assert openvino_table.measured
    there = openvino_table.measured.environment
    space = replace(tiny, resolutions=(24,))
    table = replace(openvino_table, held=replace(openvino_table.measured, digest=space.digest))
    for provider, is_expected in (("openvino", True), ("openvino,device_type=GPU", False), ("", False)):
        told = {**there, "provider": provider}
        assert is_fresh(table, space, DeviceInfo.from_json(told, name="x")) is is_expected


@needs_openvino
@pytest.mark.slow
def test_a_board_is_measured_with_openvino_over_ssh(board: Loopback, tiny: SearchSpace) -> None:
    address = f"ssh+openvino://127.0.0.1:{board.port}{OPENVINO}"
    device = open_device(address)
    assert device.info().name == "127-0-0-1-openvino"
    models: list[Model] = list(reference_models(tiny))
    (profile, *_) = device.profile(models[:1], FAST)
    assert [node.elsewhere for node in profile.nodes] == [True]  # the whole network is one node
    assert profile.peak_bytes == 0
    assert {visit.model for visit in device.time(models, FAST)} == {one.name for one in models}
    assert isinstance(device, Answering)
    (own,) = device.logits(models[:1], FAST)
    (expected,) = Host().logits(models[:1], FAST)
    told = judge_answers(
        np.array(own.logits), np.array(expected.logits), tolerance=1e-4, name="", where="openvino"
    )
    assert told.is_met
    with pytest.raises(DeviceError, match=r"cannot be used here|refuses"):
        list(open_device(address.replace("openvino", "openvino,device_type=GPU", 1)).time(models, FAST))
    with pytest.raises(DeviceError, match="has no execution provider cuda, but openvino"):
        open_device(address.replace("openvino", "cuda", 1)).info()
