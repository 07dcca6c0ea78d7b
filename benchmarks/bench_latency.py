"""How far off a latency table of this machine is on networks it has not seen, beside MACs fitted linearly.

Prints a table and one JSON line. The noise floor is how far the hold-outs' own times are uncertain.

    python -m benchmarks.bench_latency --space mobilenet_v3 --resolution 64 96 160 224 --clock cpu
"""

import argparse
import json
from dataclasses import asdict, replace

from ofa_nas.devices import MeasuringProtocol, open_device
from ofa_nas.latency.profile import profile_device
from ofa_nas.latency.table import LatencyTable, Measured
from ofa_nas.provenance import record_provenance
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
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    protocol = MeasuringProtocol(
        clock=args.clock, seed=args.seed, rounds=args.rounds, max_rounds=-(-args.rounds * 6 // 5)
    )
    space = replace(SearchSpace.load(args.space), resolutions=tuple(sorted(args.resolution)))
    records = profile_device(open_device("host"), space, protocol=protocol)
    table = next(record for record in records if isinstance(record, LatencyTable))
    assert table.measured
    _print(table.measured)
    figures = {
        str(size): {
            "table": asdict(table.measured.errors(resolution=size)),
            "macs_linear": asdict(table.measured.errors(resolution=size, by_macs=True)),
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
                "figures": figures,
                "made_by": made_by,
            }
        )
    )


def _print(held: Measured) -> None:
    heads = " ".join(f"{head:>6}" for head in ("MAPE", "worst", "bias", "rank", "in 5%", "in 10%"))
    print(f"{'px':>4} {'by':12} {heads} noise")
    for size in held.resolutions:
        floor = held.noise_floor(resolution=size)
        noise = "unknown" if floor is None else f"{floor:5.2%}"
        for name, by_macs in (("table", False), ("MACs linear", True)):
            one = held.errors(resolution=size, by_macs=by_macs)
            errors = f"{one.mape:6.2%} {one.worst:6.1%} {one.bias:+6.1%} {one.spearman or 0:6.3f}"
            shares = f"{one.within_5 or 0:6.0%} {one.within_10 or 0:6.0%}"
            print(f"{size:4} {name:12} {errors} {shares} {noise}")


if __name__ == "__main__":
    main()
