"""The long version of `test_readers.py`: `python -m tests.hardening.campaign --examples 5000 [READER …]`.

It prints the rows of the table in docs/reliability.md.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.hardening.readers import READERS
from tests.hardening.reading import READ, REFUSED, Reader, fault_of, outcome_of
from tests.hardening.samples import make_samples
from tests.small_supernet import make_small_supernet

SLOW_S = 3.0


def spoil(reader: Reader, path: Path, *, examples: int, seconds: float, number: int) -> Counter[str]:
    """Read so many spoilt files, for so much processor time [s] at most; what came of it, and how often."""
    content, rng = path.read_bytes(), Random(number)
    found: Counter[str] = Counter()
    end = time.process_time() + seconds
    while found.total() < examples and time.process_time() < end:
        path.write_bytes(reader.spoilt(content, rng))
        start = time.process_time()
        outcome = outcome_of(reader, path)
        took = time.process_time() - start
        if took > SLOW_S:
            outcome = f"took {took:.0f} s"
        kind = outcome if outcome in (READ, REFUSED) else _kind_of(outcome)
        if kind not in found:
            path.with_name(f"{len(found)}-{path.name}").write_bytes(path.read_bytes())
        found[kind] += 1
    path.write_bytes(content)
    return found


def _kind_of(fault: str) -> str:
    """Faults of one cause as one: the type and the place, and the first words."""
    kind, _, rest = fault.partition(": ")
    told, _, place = rest.rpartition(" at ")
    return (
        f"{kind} at {place}: {told[:90]}"
        if told and "codec" not in told
        else f"{kind[:40]}… at {place[:120]}"
    )


def main() -> None:
    """Spoil, read and tell."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=500)
    parser.add_argument("--seconds", type=float, default=60.0, help="of processor time a reader, at most")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--memory", type=int, default=8 << 30, help="most address space [bytes]")
    parser.add_argument("readers", nargs="*")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="campaign-"))
    samples = make_samples(make_small_supernet(folder / "small"), folder / "samples")
    resource.setrlimit(resource.RLIMIT_AS, (args.memory, args.memory))
    for reader in READERS:
        if args.readers and reader.name not in args.readers:
            continue
        fault = fault_of(reader, samples[reader.name])
        assert fault is None, f"{reader.name}: the sample itself: {fault}"
        found = spoil(
            reader, samples[reader.name], examples=args.examples, seconds=args.seconds, number=args.seed
        )
        read, refused = found.pop(READ, 0), found.pop(REFUSED, 0)
        total = read + refused + found.total()
        sys.stdout.write(f"| {reader.name} | {total} | {read} | {refused} | {found.total() or 'none'} |\n")
        for fault, count in found.most_common():
            sys.stdout.write(f"  {count} x {fault}\n")
        sys.stdout.flush()
    sys.stdout.write(f"files in {folder}\n")


if __name__ == "__main__":
    main()
