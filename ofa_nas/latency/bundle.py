"""Tables of boards without a network path: a bundle of models goes there by hand, its results come back.

The agent on the board does the same as over ssh. The bundle holds space and designs, so a table needs nothing
but bundle and results, whatever version of numpy drew them.
"""

import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ofa_nas.activity import Activity
from ofa_nas.devices import DeviceInfo, Logits, MeasuringProtocol, Profile, Visit, agent
from ofa_nas.devices.job import Answers, Job, Task, pack_model
from ofa_nas.devices.provided import plain_provider
from ofa_nas.errors import FileError, OfaNasError
from ofa_nas.files import open_regular, read_bytes, replacing
from ofa_nas.latency.design import Design
from ofa_nas.latency.profile import Networks, check_request
from ofa_nas.latency.references import REFERENCE, reference_architectures
from ofa_nas.latency.session import Session, make_table
from ofa_nas.latency.table import LatencyTable
from ofa_nas.precisions import FP32
from ofa_nas.space.search_space import SearchSpace

KINDS = ("latin", "anchors", "holdouts")  # of a design's networks
EPOCH = (1980, 1, 1, 0, 0, 0)  # of every file: the same bundle is the same bytes
FAR_APART = 1e6  # networks of one space: one takes at most so many times as long as another
LARGEST_JOB, LARGEST_RESULTS = 64 << 20, 1 << 30  # bytes of a job.json and of results that are read
AGAIN = "run python3 agent.py again on the board, it goes on where it stopped, and copy results.jsonl anew"
# Wheels of ONNX Runtime by the execution providers that they hold beside the CPU's.
PACKAGES = {
    "": "onnxruntime",
    "cuda": "onnxruntime-gpu",
    "tensorrt": "onnxruntime-gpu",
    "openvino": "onnxruntime-openvino",
    "qnn": "onnxruntime-qnn",
}
README = """\
Latency measurement for ofa-nas: {space}, {sizes} px, {networks} networks, {precision}.

On the board, in the folder where this was unpacked (python3 -m zipfile -e BUNDLE.zip FOLDER):

    python3 agent.py

It needs Python 3.8 or later, 64-bit, with numpy and {runtime}, as of an environment of its own:

    python3 -m venv ~/ofa && ~/ofa/bin/pip install numpy {package}
    ~/ofa/bin/python agent.py

For a board without a network, where there is one, with the Python version of the board (before 3.11 also with
the version of onnxruntime that the agent names there); then, on the board, in place of the line above:

    pip download -d wheels --only-binary=:all: --platform manylinux_2_28_aarch64 \\
        --platform manylinux2014_aarch64 --python-version 3.11 numpy {package}
    python3 -m venv ~/ofa && ~/ofa/bin/pip install --no-index --find-links wheels numpy {package}

It shows how far it is, and appends all figures to results.jsonl; ended by whatever means, it goes on where it
stopped when started again.

It refuses, and says why and what helps:
- a 32-bit Python, a missing onnxruntime, one before 1.12;
- one that crashes on this processor (1.21.0 on a Raspberry Pi 4);
- a supply voltage that is too low, a capped frequency, throttling, a board that is too hot
  (its lowest passive trip point; {hot:.0f} degrees C where it names none);
- less free memory than the models take (a bundle of --precision int8 takes a quarter);
- fewer cores than threads asked for ({threads});
- results begun under another governor, kernel, Python or onnxruntime.
It warns of a governor other than performance, of other programs, of heat; the table will say so.

Then bring results.jsonl back:

    ofa-nas profile --collect results.jsonl --bundle BUNDLE.zip --name my-board
"""


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle that was written.

    Attributes:
        path: The zip file.
        bytes: Its size.
        networks: Models in it.
        job: Its identity; results name it.
    """

    path: Path
    bytes: int
    networks: int
    job: str


def write_bundle(
    path: Path,
    space: SearchSpace,
    *,
    protocol: MeasuringProtocol,
    resolutions: Sequence[int] = (),
    precision: str = FP32,
) -> Iterator[Activity | Bundle]:
    """Write models, agent and instructions into a zip file; the last record is the bundle.

    Args:
        path: To write.
        space: Whose layers to measure.
        protocol: How.
        resolutions: Some of the space's; all without.
        precision: Of the networks, `fp32` or `int8`.

    Raises:
        ConfigError: A resolution is not the space's, or processor time is asked of several threads.
        FileError: The file cannot be written.
    """
    sizes = check_request(space, protocol, resolutions, precision=precision)
    protocol = replace(protocol, provider=plain_provider(protocol.provider))
    networks = Networks.draw(space, sizes, protocol.seed, provider=protocol.provider)
    total = len(reference_architectures(space)) + len(networks.names)
    yield Activity(networks.extent(precision), 0, total)
    about = {
        "space": space.to_document(),
        "precision": precision,
        "designs": [_to_document(design) for design in networks.designs],
    }
    files = {}
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for done, model in enumerate(networks.write_all(precision=precision), start=1):
            packed = pack_model(model)
            files[model.name] = packed.file
            _add(archive, packed.file.file, packed.packed)
            yield Activity("writing networks", done, total)
        job = Job(protocol, _tasks(networks.designs, list(files)), files, about)
        for name, content in job.files([]).items():
            _add(archive, name, content)
        readme = _readme(space, sizes, len(files), precision=precision, protocol=protocol)
        _add(archive, "README.txt", readme.encode())
    yield Bundle(path, path.stat().st_size, len(files), job.id)


def _readme(
    space: SearchSpace,
    sizes: Sequence[int],
    networks: int,
    *,
    precision: str,
    protocol: MeasuringProtocol,
) -> str:
    name, *_ = protocol.provider.split(",")
    jetson = "\n(on a Jetson NVIDIA's own, for its JetPack)" * (PACKAGES.get(name) == "onnxruntime-gpu")
    return README.format(
        space=space.name,
        sizes=", ".join(map(str, sizes)),
        networks=networks,
        precision=precision,
        threads=protocol.threads,
        runtime=f"a package of onnxruntime that has {name}{jetson}" if name else "onnxruntime",
        package=PACKAGES.get(name, "PACKAGE"),
        hot=agent.HOT_C,
    )


@dataclass(frozen=True, slots=True)
class Collected:
    """The table of a board, and the space that it is of."""

    table: LatencyTable
    space: SearchSpace


def collect(results: Path, bundle: Path, *, name: str) -> Collected:
    """Make the table of a board from what its agent wrote.

    Args:
        results: `results.jsonl` of the board.
        bundle: That was measured there.
        name: Of the table.

    Raises:
        FileError: The results are damaged, not finished, of several boards, or of another bundle; the message
            names the line.
    """
    job = _read_job(bundle)
    about = _read_about(job, bundle)
    answers = Answers(job, str(results), FileError, fix=AGAIN)
    found: list[Visit | Profile] = []
    for line in _read_lines(results):
        measured = answers.read(line)
        if measured is not None and not isinstance(measured[1], Logits):
            found.append(measured[1])
    if not answers.is_complete:
        part = min(set(range(len(job.tasks))) - answers.done) + 1
        raise FileError(
            f"{results}: ends behind line {answers.lines}, part {part} of {len(job.tasks)} not done: {AGAIN}"
        )
    info = DeviceInfo.from_json(answers.machine, name=name)
    try:
        with np.errstate(divide="raise", over="raise", invalid="raise"):
            session = Session.of(about.designs, found, job.protocol)
            _check_spread(session)
            table = make_table(
                about.space, session, info=info, protocol=job.protocol, precision=about.precision
            )
    except (FloatingPointError, np.linalg.LinAlgError) as error:
        raise FileError(f"{results}: its figures are too far apart for a table: measure it again") from error
    return Collected(table, about.space)


def _check_spread(session: Session) -> None:
    times = [one.latency_ms for one in session.measurements.values()]
    if max(times) > FAR_APART * min(times):
        raise FloatingPointError("no networks of one space")


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    entry = zipfile.ZipInfo(name, EPOCH)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, content)


def _read_job(bundle: Path) -> Job:
    try:
        with open_regular(bundle, error=FileError) as file, zipfile.ZipFile(file) as archive:
            entry = archive.getinfo("job.json")
            if entry.file_size > LARGEST_JOB:
                raise FileError(f"{bundle}: job.json is larger than any that ofa-nas writes")
            content = archive.read(entry)
    except OSError as error:
        raise FileError(f"{bundle}: cannot be read: {error.strerror or error}") from error
    except (zipfile.BadZipFile, KeyError, RuntimeError, ValueError) as error:
        raise FileError(f"{bundle}: is no bundle of ofa-nas profile --bundle: {error!s:.200}") from error
    return Job.parse(content, where=str(bundle), error=FileError)


@dataclass(frozen=True, slots=True)
class _About:
    """What a job is for: space, designs and precision of the networks."""

    space: SearchSpace
    designs: list[Design]
    precision: str


def _read_about(job: Job, bundle: Path) -> _About:
    try:
        space = SearchSpace.from_document(job.about["space"], bundle)
        designs = [_from_document(document, space) for document in job.about["designs"]]
        precision = str(job.about["precision"])
    except (ArithmeticError, KeyError, TypeError, ValueError, AttributeError, OfaNasError) as error:
        raise FileError(f"{bundle}: the job names no networks of a space: {error!s:.300}") from error
    timed = [name for task in job.tasks for name in task.models]
    if not designs or job.tasks != _tasks(designs, timed):
        raise FileError(f"{bundle}: its job does not measure its networks: write it again")
    return _About(space, designs, precision)


def _tasks(designs: Sequence[Design], models: Sequence[str]) -> tuple[Task, ...]:
    """The Latin designs are profiled, then everything is timed, first the references among the models."""
    references = [name for name in models if name.startswith(REFERENCE)]
    latin = [str(arch) for design in designs for arch in design.latin]
    networks = [str(arch) for design in designs for arch in design.networks]
    return Task("profile", tuple(latin)), Task("time", (*references, *networks))


def _read_lines(results: Path) -> list[bytes]:
    *lines, rest = read_bytes(results, error=FileError, most=LARGEST_RESULTS).split(b"\n")
    if rest or not lines:
        raise FileError(f"{results}: line {len(lines) + 1} is cut off or missing: {AGAIN}")
    return lines


def _to_document(design: Design) -> dict[str, object]:
    texts = {kind: list(map(str, getattr(design, kind))) for kind in KINDS}
    return {"resolution": design.resolution, **texts}


def _from_document(document: dict[str, Any], space: SearchSpace) -> Design:
    latin, anchors, holdouts = (tuple(map(space.parse, document[kind])) for kind in KINDS)
    return Design(int(document["resolution"]), latin, anchors, holdouts)
