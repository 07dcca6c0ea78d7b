"""What a newcomer types wrong: one line that says what is wrong, status 1 or 2, and nothing is written.

`{net}` is a supernet of `tiny`, `{data}` its images, `{onnx}` a file of it, `{junk}` a file of random bytes,
`{folder}` an empty folder, `{search}` the document of a search.
"""

import shlex
from pathlib import Path

import numpy as np
import pytest

from ofa_nas.cli import COMMANDS, main
from tests.small_supernet import SmallSupernet

WRONG = (
    ("serch --latency 3ms", "there is no command 'serch', maybe search"),
    ("search --device rpi4 --latency soon", "--latency 'soon': expected latency such as 30ms"),
    ("search --latency 3ms", "a latency budget needs a device: add --device host"),
    ("search --latency=-3ms --device rpi4", "expected"),
    ("search --device rpi5 --latency 3ms", "rpi5 is a roofline of Raspberry Pi 5 B: it ranks"),
    ("search --device rpi9 --latency 3ms", "rpi9: no such latency table"),
    ("search --device {junk} --latency 3ms", "{junk}"),
    ("search --device rpi4 --latency 1us", "raise --latency to 8.57ms or more"),
    ("search --macs 1 --supernet {net}", "cannot be met"),
    ("search --macs 1M --supernet nonet", "nonet: no such supernet"),
    ("search --macs 1M --supernet {junk}", "{junk}"),
    ("search --macs 1M --supernet {net} --method luck", "luck"),
    (
        "search --macs 1M --supernet {net} --method os.path",
        "os.path: not a search method: the module lacks search",
    ),
    ("search --macs 1M --supernet {net} --seed minus", "--seed"),
    ("search --macs 1M --supernet {net} --objective beauty", "beauty"),
    ("search --macs 1M --supernet {net} --accuracy 50%", "--accuracy"),
    ("search --macs 1M --supernet {net} --margin 2", "--margin"),
    ("search --macs 1M --supernet {net} --precision int4", "int4"),
    ("search --macs 1M --supernet {net} --export {folder}", "expected the name of a .onnx file"),
    ("search --macs 1M --supernet {net} --export a.txt", "expected the name of a .onnx file"),
    ("search --macs 1M --supernet {net} --report page.pdf", "page.pdf"),
    ("search --macs 1M --supernet {net} --json-file {folder}/no\0pe", "names no file"),
    ("search --macs 1M --supernet {net} --measured --data {data} --storage mysql://x", "mysql://x"),
    ("export 24/3x9/3x2 --supernet {net} --output a.onnx", "3x9"),
    ("export 24 --supernet {net} --output a.onnx", "24"),
    ("export tallest --supernet {net} --output a.onnx", "tallest"),
    ("export largest --supernet {net} --output a.txt", "expected the name of a .onnx file"),
    ("export largest --supernet {net}", "--output"),
    ("export largest --supernet {net} --output a.onnx --batch none", "--batch"),
    ("export largest --supernet {net} --output a.onnx --batch 0", "batch 0: expected 1 to 256, or dynamic"),
    ("export largest --supernet {net} --output a.onnx --threads 0", "--threads 0: expected 1 or more"),
    ("show", "required: FILE"),
    ("show {junk}", "{junk}"),
    ("show {folder}", "{folder}"),
    ("show no.onnx", "no.onnx"),
    ("verify {junk}", "{junk}"),
    ("verify {onnx} --latency 3ms", "--device"),
    ("verify {onnx} --device=", "--device: is empty (is a variable not set?)"),
    ("search --macs 1M --measured --storage=postgresql://no/?x=", "--data"),
    ("show ''", "an argument: is empty (is a variable not set?)"),
    (
        "verify {onnx} --device ''",
        "--device: is empty (is a variable not set?): give a value, or leave it out",
    ),
    ("profile --device= --space tiny", "--device: is empty"),
    ("search --macs 1M --supernet ''", "--supernet: is empty"),
    ("show ''", "an argument: is empty"),
    ("verify {onnx} --device ssh://nobody@256.256.256.256", "256.256.256.256"),
    ("verify {onnx} --supernet nonet", "nonet"),
    ("compare {onnx} --baseline nobody --supernet {net}", "nobody"),
    ("compare {onnx} --baseline {junk} --supernet {net}", "{junk}"),
    ("compare {onnx} --baseline largest --supernet {net} --input-mean 1,2", "--input-mean"),
    ("compare {junk} --baseline largest", "{junk}"),
    ("report {folder}", "no search.json in this folder"),
    ("report {junk}", "{junk}"),
    ("report {search} --plot front.jpg", "front.jpg"),
    ("report {search} --output page.txt", "page.txt"),
    ("profile --device toaster://x --space tiny", "toaster"),
    ("profile --space tinny", "tinny: no such search space"),
    ("profile --space tiny --resolution 25", "25"),
    ("profile --space tiny --rounds 0", "--rounds"),
    ("profile --collect {junk} --bundle {junk} --name mine", "{junk}"),
    ("profile --collect {junk}", "--bundle"),
    (
        "profile --space tiny --bundle board.tar",
        "--bundle board.tar: cannot be written: expected the name of a .zip",
    ),
    ("verify-table nowhere", "nowhere: no such latency table"),
    ("verify-table {junk}", "{junk}"),
    ("devices melt", "melt"),
    ("devices explain rpi9 largest", "rpi9"),
    ("devices calibrate rpi4 {junk} --output t.json", "{junk}"),
    (
        "devices calibrate rpi4 {junk} --output t.json --threads 99999",
        "--threads 99999: expected 4096 or less",
    ),
    ("devices import mine {junk} --space tiny --output t.json", "{junk}"),
    ("bootstrap --from stone --output b.safetensors", "stone"),
    (
        "bootstrap --from os.path --output b.safetensors",
        "--from os.path: not a pretrained network: the module lacks SPACE, INPUT_MEAN, INPUT_STD, tensors",
    ),
    ("import {junk}", "{junk}"),
    ("import nowhere.pth", "nowhere.pth"),
    ("train --space tiny", "--data"),
    ("train --data {folder} --space tiny", "{folder}"),
    ("train --data {data} --space tiny --epochs 0", "epochs"),
    ("train --data {data} --space tiny --epochs nan", "epochs"),
    ("train --data {data} --space tiny --recipe stew", "stew"),
    ("train --data {data} --space tiny --device tpu", "tpu"),
    ("train --data {data} --space tiny --batch-size 100000", "--batch-size"),
    ("train --data {data} --space tiny --learning-rate nan", "learning"),
    ("train --data {data} --space tiny --resume", "nothing to resume: leave out --resume"),
    ("evaluate largest --supernet {net} --data {folder}", "{folder}"),
    (
        "evaluate largest --supernet {net} --data os.path",
        "os.path: not a data set: the module lacks DEFAULT_FOLDERS, ADDRESS, CHECKSUM, is_layout, splits",
    ),
    ("evaluate largest --supernet {net} --data os.path={folder}", "os.path: not a data set: the module"),
    ("evaluate biggest --supernet {net} --data {data}", "biggest"),
    ("evaluate largest --supernet {net} --data {data} --images 0", "--images"),
    ("predictor collect --supernet {net} --data {data} --count 0", "--count"),
    ("predictor collect --supernet {net} --data {data} --until soon", "--until soon"),
    ("predictor fit --supernet {net} --kind oracle", "oracle"),
    (
        "predictor fit --supernet {net} --kind os.path",
        "os.path: not a predictor: the module lacks fit, from_json",
    ),
    ("predictor report --supernet {net} --kind os.path", "os.path: not a predictor: the module lacks fit"),
    ("predictor report --supernet nonet", "nonet"),
    (
        "predictor fit --supernet {net} --data {data}",
        "--data only applies to predictor collect; leave it out of predictor fit",
    ),
    (
        "predictor report --supernet {net} --images 10",
        "--images only applies to predictor collect; leave it out of predictor report",
    ),
    (
        "predictor fit --supernet {net} --output page.html",
        "--output only applies to predictor report; leave it out of predictor fit",
    ),
    (
        "predictor collect --supernet {net} --data {data} --kind mlp",
        "--kind only applies to predictor fit, report; leave it out of predictor collect",
    ),
    (
        "predictor collect --supernet {net} --data {data} --count 10000000",
        "--count 10000000: expected 1 to 100000",
    ),
    ("predictor fit --supernet {onnx}", "{onnx}: no supernet: expected the path of a .safetensors file"),
    ("transfer --from {junk}.onnx --data {data}", "{junk}.onnx"),
    ("transfer --from largest --supernet {net} --data {folder}", "{folder}"),
    ("transfer --from largest --supernet {net} --data {data} --method magic", "magic"),
    ("transfer --from largest --supernet {net} --data {data} --batch-size 0", "--batch-size 0"),
    ("transfer --from largest --supernet {net} --data {data} --resume", "nothing to resume"),
    ("prune --from {junk}.onnx --data {data}", "{junk}.onnx"),
    ("prune --from largest --supernet {net} --data {data} --method magic", "magic"),
    ("prune --from largest --supernet {net} --data {data} --keep 0", "--keep 0"),
    ("prune --from largest --supernet {net} --data {data} --resume", "nothing to resume"),
    (
        "prune --from largest --supernet {net} --data {data} --method imp --checkpoint-minutes 1",
        "--checkpoint-minutes only applies to --method channel; leave it out with --method imp",
    ),
    ("data sand a.npz", "sand"),
    ("data dead-leaves a.txt", "a.txt"),
    ("data dead-leaves a.npz --mode stars", "stars"),
    ("data noise a.npz --count 0", "--count 0"),
    (
        "data noise a.npz --count 1000000000 --size-px 1024",
        "a.npz: the 1000000000 images take 3145728 GB, and",
    ),
    ("data a.npz noise", "GENERATOR a.npz: expected a generator, and the file behind it: noise a.npz"),
    ("data lab/clouds.py a.npz", "there is no 'lab/clouds.py'; there are dead-leaves, noise"),
    ("pretrain --data {folder}", "{folder}"),
    ("pretrain --data {data} --loss magic", "magic"),
    ("pretrain --data {data} --loss os.path", "os.path: not a loss: the module lacks terms, follow"),
    ("pretrain --data {data} --space tinny", "tinny"),
    ("memory largest --supernet nonet", "nonet"),
    ("memory biggest --supernet {net}", "biggest"),
    ("memory largest --supernet {net} --batch 0", "--batch"),
    ("memory {onnx} --space tiny", "{onnx} tells its own search space: leave out --space"),
    ("run no.toml", "no.toml: no such run file"),
    ("run {junk}", "junk: not valid TOML"),
    ("run {folder}", "{folder}"),
    ("spaces tinny", "tinny: no such search space"),
    ("spaces {junk}", "{junk}"),
    ("completion tcsh", "tcsh"),
)


@pytest.fixture(scope="module")
def places(small: SmallSupernet, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    root = tmp_path_factory.mktemp("places")
    (root / "folder").mkdir()
    (root / "junk").write_bytes(np.random.default_rng(0).bytes(3000))
    found = {name: str(root / name) for name in ("folder", "junk", "onnx", "search")}
    found["onnx"] += ".onnx"
    arguments = ["--supernet", small.name, "--macs", "1M", "--export", found["onnx"]]
    assert main(["search", *arguments, "--json-file", found["search"]]) == 0
    return {**found, "net": small.name, "data": str(small.data)}


@pytest.mark.parametrize(("line", "told"), WRONG, ids=lambda text: str(text)[:50].replace("\0", ""))
def test_a_wrong_input_is_one_clear_line(
    line: str,
    told: str,
    places: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = [word.format(**places) for word in shlex.split(line)]
    capfd.readouterr()
    try:
        status = main(arguments)
    except SystemExit as error:  # argparse: a usage, then the line
        status = error.code if isinstance(error.code, int) else 99
    printed = capfd.readouterr()
    told_lines = [one for one in printed.err.splitlines() if " warns: " not in one]  # of a busy machine
    lines = [one for one in told_lines if "error: " in one]
    assert status in (1, 2), printed
    assert len(lines) == 1, printed.err
    assert told.format(**places) in lines[0]
    assert "internal error" not in printed.err
    assert "Traceback" not in printed.err
    assert status == 2 or len(told_lines) == 1
    assert printed.out == ""
    assert [path.name for path in tmp_path.iterdir()] == []


def test_every_command_has_wrong_inputs() -> None:
    tried = {line.split()[0] for line, _ in WRONG}
    assert {command.name for command in COMMANDS} <= tried
