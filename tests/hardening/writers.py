"""Kill a process that does nothing but write files: `python -m tests.hardening.writers --kills 300`."""

import argparse
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ofa_nas.accuracy import AccuracySample
from ofa_nas.data.sample import load_sample, save_sample
from ofa_nas.files import moving_together, write_json
from ofa_nas.sample_store import SampleStore
from ofa_nas.supernet.checkpoint import load_supernet, save_supernet
from ofa_nas.supernet_card import SupernetCard, SupernetFiles
from ofa_nas.training.history import History
from ofa_nas.training.train import EpochReport
from tests.hardening.interruptions import damage_in, orphans_in
from tests.pipeline.simulated_board import simulated_table
from tests.small_supernet import SmallSupernet

SAMPLE = AccuracySample("24/3x2/3x2", 1, 2, "tiny/holdout")
REPORT = EpochReport(1, 1.0, "both", 2.0, 0.1, 0.2, 0.3, 4.0)
MISMATCH = "its digest is not the one"  # a kill between two renames, which the next call mends


def writers(small: SmallSupernet, folder: Path) -> list[Callable[[], object]]:
    """One call of every way in which the tool writes a file; each call writes it anew."""
    supernet, card = load_supernet(small.files)
    table, source = simulated_table(), load_sample(small.files.calibration)
    store, history = SampleStore(folder / "a.samples.jsonl"), History(folder, EpochReport)
    count = iter(range(10**9))

    def together() -> None:
        with moving_together(folder / "together") as own:
            for name in ("one", "two"):
                write_json(own / f"{name}.json", {"number": next(count)})

    return [
        lambda: table.save(folder / "table.json"),
        lambda: save_supernet(SupernetFiles(folder / "net.safetensors"), supernet, card),
        lambda: save_sample(folder / "images.npz", source, source.labels[:20]),
        lambda: store.append(replace(SAMPLE, split=f"split {next(count)}")),
        lambda: history.add(replace(REPORT, step=next(count))),
        together,
    ]


def kill_once(small: SmallSupernet, folder: Path, *, after_s: float) -> list[str]:
    """Kill such a process after so many seconds; what lies there half-written."""
    calls = writers(small, folder)
    child = os.fork()
    if child == 0:
        try:
            while True:
                for call in calls:
                    call()
        finally:
            os._exit(70)
    time.sleep(after_s)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    faults = damage_in(folder)
    for call in writers(small, folder):  # whoever comes next goes on
        call()
    return faults + [f"then {one}" for one in damage_in(folder)]


def main() -> None:
    """Kill, look and tell."""
    from tests.small_supernet import make_small_supernet

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    rng, root, is_good = random.Random(args.seed), Path(tempfile.mkdtemp(prefix="writers-")), True
    small, folder = make_small_supernet(root / "small"), root / "work"
    folder.mkdir()
    found: Counter[str] = Counter()
    for _ in range(args.kills):
        faults = kill_once(small, folder, after_s=rng.uniform(0.0, 0.3))
        found["; ".join(faults) or "fine"] += 1
        is_good &= all(MISMATCH in fault and not fault.startswith("then") for fault in faults)
    for fault, times in found.most_common():
        sys.stdout.write(f"{times} x {fault}\n")
    assert SupernetCard.load(folder / "net.json").sha256
    sys.stdout.write(f"{len(orphans_in(folder))} temporary files were left, to be swept when they are old\n")
    shutil.rmtree(root)
    sys.exit(0 if is_good else 1)


if __name__ == "__main__":
    main()
