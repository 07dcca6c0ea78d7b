"""How far is the predicted peak of activations from what ONNX Runtime asks for, and what does a process gain?

The subnets are random, with random weights. Liveness is exact for the execution order, and is what a search
predicts. Beside it stand the most bytes that ONNX Runtime requested at once (from its profile, before it
plans one block), and what a separate process gains by loading and running the model. Nothing is timed, so a
busy machine will do. Prints a table and one JSON line.

    python -m benchmarks.bench_memory --subnets 30
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from ofa_nas.devices import Device, MeasuringProtocol, open_device
from ofa_nas.latency.references import write_network
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.encoding import Encoding
from ofa_nas.space.precision import peak_bytes, weight_bytes
from ofa_nas.space.search_space import SearchSpace

SPACES = ("efficientnet_lite", "mobilenet_v3")


@dataclass(frozen=True, slots=True)
class Subnet:
    """Bytes of one subnet; `resident` is None where the system does not tell."""

    architecture: str
    liveness: int
    requested: int
    weights: int
    resident: int | None


@dataclass(frozen=True, slots=True)
class Row:
    """A space; errors are liveness over requested less 1, and above 0 liveness is more.

    Attributes:
        exact: Share of subnets whose figures are equal to the byte.
        bias: Mean error.
        worst: The error of the largest size.
        resident: Mean of what a process gains over weights and liveness together; None where nobody tells.
        resident_worst: The largest.
    """

    space: str
    subnets: int
    exact: float
    bias: float
    worst: float
    resident: float | None
    resident_worst: float | None


def main() -> None:
    """Draw, profile, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--spaces", nargs="+", default=SPACES)
    parser.add_argument("--subnets", type=int, default=30, help="random subnets of each space")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    device = open_device("host")
    rows = []
    for name in args.spaces:
        space = SearchSpace.load(name)
        rng = np.random.default_rng(args.seed)
        encoding = Encoding.of(space)
        archs = encoding.decode(encoding.sample(args.subnets, rng))
        rows.append(_summarise(name, [_measure(device, space, arch, rng) for arch in archs]))
    _print(rows)
    made_by = record_provenance(seed=args.seed).to_json()
    print(json.dumps({"rows": [asdict(row) for row in rows], "made_by": made_by}))


def _measure(device: Device, space: SearchSpace, arch: Architecture, rng: np.random.Generator) -> Subnet:
    layers = list(space.layers(arch))
    model = write_network(space, arch, rng, name=str(arch))
    protocol = MeasuringProtocol(profile_sittings=1, profile_runs=1, profile_skip=0, resident=True)
    profile = next(iter(device.profile([model], protocol)))
    return Subnet(
        architecture=str(arch),
        liveness=max(map(peak_bytes, layers)),
        requested=profile.peak_bytes,
        weights=sum(map(weight_bytes, layers)),
        resident=profile.resident_bytes or None,
    )


def _summarise(space: str, subnets: Sequence[Subnet]) -> Row:
    errors = np.array([one.liveness / one.requested - 1.0 for one in subnets])
    told = [one.resident / (one.weights + one.liveness) for one in subnets if one.resident is not None]
    return Row(
        space=space,
        subnets=len(subnets),
        exact=float((errors == 0.0).mean()),
        bias=float(errors.mean()),
        worst=float(errors[np.argmax(np.abs(errors))]),
        resident=float(np.mean(told)) if told else None,
        resident_worst=max(told, default=None),
    )


def _print(rows: Sequence[Row]) -> None:
    print(
        f"{'space':<20} {'subnets':>7} {'equal':>7} {'bias':>8} {'worst':>8}  resident / (weights + liveness)"
    )
    for row in rows:
        resident = (
            "not told" if row.resident is None else f"{row.resident:.2f}, at most {row.resident_worst:.2f}"
        )
        shares = f"{row.exact:>7.0%} {row.bias:>+8.1%} {row.worst:>+8.1%}"
        print(f"{row.space:<20} {row.subnets:>7} {shares}  {resident}")


if __name__ == "__main__":
    main()
