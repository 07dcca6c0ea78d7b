"""The long version of `test_readers.py`: `python -m tests.hardening.campaign --examples 2000 [READER …]`."""

import argparse
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.hardening.readers import READERS, Reader, fault_of
from tests.hardening.samples import make_samples
from tests.small_supernet import make_small_supernet

SLOW_S = 3.0


def spoil(reader: Reader, path: Path, *, examples: int, number: int) -> Counter[str]:
    """Read so many spoilt files; what was wrong, and how often."""
    content, rng = path.read_bytes(), Random(number)
    found: Counter[str] = Counter()
    for _ in range(examples):
        path.write_bytes(reader.spoilt(content, rng))
        start = time.perf_counter()
        fault = fault_of(reader, path)
        took = time.perf_counter() - start
        if fault is None and took > SLOW_S:
            fault = f"took {took:.0f} s"
        kind = _kind_of(fault) if fault else "fine"
        if kind not in found:
            path.with_name(f"fault-{len(found)}-{path.name}").write_bytes(path.read_bytes())
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
        start = time.perf_counter()
        fault = fault_of(reader, samples[reader.name])
        assert fault is None, f"{reader.name}: the sample itself: {fault}"
        found = spoil(reader, samples[reader.name], examples=args.examples, number=args.seed)
        took = time.perf_counter() - start
        good = found.pop("fine", 0)
        sys.stdout.write(f"{reader.name}: {good} fine, {found.total()} not, {took:.0f} s\n")
        for fault, count in found.most_common():
            sys.stdout.write(f"  {count} x {fault}\n")
        sys.stdout.flush()
    sys.stdout.write(f"files in {folder}\n")


if __name__ == "__main__":
    main()
