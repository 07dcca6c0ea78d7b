"""How far off is a latency table of this machine on networks it has not seen, beside MACs fitted linearly?

Prints a table and one JSON line. The noise floor is the uncertainty of the hold-outs' own times. With
`--isolated` every layer of the hold-outs is also timed in a model of its own, which is how tables are usually
made; the sums of these times stand beside.

    python -m benchmarks.bench_latency --space mobilenet_v3 --resolution 64 96 160 224 --clock cpu
"""

import argparse
import json
import time
from dataclasses import asdict, replace

import numpy as np

from ofa_nas.devices import MeasuringProtocol, Model, open_device
from ofa_nas.latency.measure import Measurement, measure
from ofa_nas.latency.measured import ErrorFigures, Measured, judge
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.table import LatencyTable
from ofa_nas.onnx_writer import random_weights, write_model
from ofa_nas.provenance import record_provenance
from ofa_nas.space.architecture import Architecture
from ofa_nas.space.search_space import SearchSpace


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--space", default="mobilenet_v3")
    parser.add_argument(
        "--resolution", type=int, nargs="+", default=[64, 96, 160, 224], help="any sizes [px]"
    )
    parser.add_argument("--rounds", type=int, default=10, help="visits of each network at least (10)")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="cpu")
    parser.add_argument("--isolated", action="store_true", help="also time every layer alone")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    protocol = MeasuringProtocol(
        clock=args.clock, seed=args.seed, rounds=args.rounds, max_rounds=-(-args.rounds * 6 // 5)
    )
    space = replace(SearchSpace.load(args.space), resolutions=tuple(sorted(args.resolution)))
    began = time.perf_counter()
    records = profile_device(open_device("host"), space, protocol=protocol)
    table = next(record for record in records if isinstance(record, LatencyTable))
    seconds = time.perf_counter() - began
    assert table.measured
    print(
        f"built in {seconds / 60:.1f} minutes, {seconds / len(space.resolutions):.0f} s a resolution, "
        f"of {table.measured.networks} networks and {len(table.measured.references)} references\n"
    )
    alone = isolated_errors(space, table.measured, protocol) if args.isolated else {}
    _print(table.measured, alone)
    figures = {
        str(size): {
            "table": asdict(table.measured.errors(resolution=size)),
            "macs_linear": asdict(table.measured.errors(resolution=size, by_macs=True)),
            "isolated": asdict(alone[size]) if alone else None,
            "noise_floor": table.measured.noise_floor(resolution=size),
        }
        for size in table.measured.resolutions
    }
    made_by = record_provenance(seed=args.seed).to_json()
    print(
        json.dumps(
            {
                "space": space.name,
                "clock": args.clock,
                "rounds": args.rounds,
                "seconds": seconds,
                "figures": figures,
                "made_by": made_by,
            }
        )
    )


def isolated_errors(
    space: SearchSpace, held: Measured, protocol: MeasuringProtocol
) -> dict[int, ErrorFigures]:
    """Errors of sums of layers that were each timed in a model of its own, by resolution."""
    archs = [Architecture.parse(holdout.architecture) for holdout in held.holdouts]
    distinct = dict.fromkeys(layer for arch in archs for layer in space.layers(arch))
    layers = {layer: f"layer {number}" for number, layer in enumerate(distinct)}
    rng = np.random.default_rng(protocol.seed)
    models = [
        Model(name, write_model([layer], random_weights([layer], rng)).SerializeToString())
        for layer, name in layers.items()
    ]
    records = measure(open_device("host"), models, protocol=protocol)
    found = {one.model: one.latency_ms for one in records if isinstance(one, Measurement)}
    sums = np.array([sum(found[layers[layer]] for layer in space.layers(arch)) for arch in archs])
    measured = np.array([holdout.measured_ms for holdout in held.holdouts])
    sizes = np.array([arch.resolution for arch in archs])
    return {size: judge(sums[sizes == size], measured[sizes == size]) for size in held.resolutions}


def _print(held: Measured, alone: dict[int, ErrorFigures]) -> None:
    heads = " ".join(f"{head:>6}" for head in ("MAPE", "worst", "bias", "rank", "in 5%", "in 10%"))
    print(f"{'px':>4} {'by':12} {heads} noise")
    for size in held.resolutions:
        floor = held.noise_floor(resolution=size)
        noise = "unknown" if floor is None else f"{floor:5.2%}"
        rows = {
            "table": held.errors(resolution=size),
            "MACs linear": held.errors(resolution=size, by_macs=True),
        }
        for name, one in (rows | ({"layers alone": alone[size]} if alone else {})).items():
            errors = f"{one.mape:6.2%} {one.worst:6.1%} {one.bias:+6.1%} {one.spearman or 0:6.3f}"
            shares = f"{one.within_5 or 0:6.0%} {one.within_10 or 0:6.0%}"
            print(f"{size:4} {name:12} {errors} {shares} {noise}")


if __name__ == "__main__":
    main()
