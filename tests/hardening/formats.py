"""Formats as documents whose places can be spoilt: from bytes, and back with digests and offsets that fit."""

import hashlib
import io
import json
import math
import tomllib
import zipfile
from typing import Any

import onnx
import torch

from tests.hardening.mutations import to_json
from tests.hardening.reading import Document


def from_lines(content: bytes) -> Document:
    return [json.loads(line) for line in content.splitlines()]


def to_lines(document: Document) -> bytes:
    return b"".join(to_json(line) + b"\n" for line in document)


def from_toml(content: bytes) -> Document:
    return tomllib.loads(content.decode())


def to_toml(document: Document) -> bytes:
    """TOML enough for documents of tables, arrays of tables, and inline values."""
    lines: list[str] = []

    def write(table: dict[str, Any], prefix: str) -> None:
        below = {}
        for key, value in table.items():
            is_tables = isinstance(value, list) and value and all(isinstance(one, dict) for one in value)
            if isinstance(value, dict) or is_tables:
                below[key] = value
            else:
                lines.append(f"{json.dumps(str(key))} = {inline(value)}")
        for key, value in below.items():
            name = f"{prefix}{json.dumps(str(key))}"
            for one in value if isinstance(value, list) else [value]:
                lines.append(f"[[{name}]]" if isinstance(value, list) else f"[{name}]")
                write(one, f"{name}.")

    def inline(value: Any) -> str:
        if isinstance(value, dict):
            return (
                "{" + ", ".join(f"{json.dumps(str(key))} = {inline(one)}" for key, one in value.items()) + "}"
            )
        if isinstance(value, list):
            return "[" + ", ".join(map(inline, value)) + "]"
        if isinstance(value, float):
            return {"Infinity": "inf", "-Infinity": "-inf", "NaN": "nan"}.get(text := json.dumps(value), text)
        return '""' if value is None else json.dumps(value)

    write(document, "")
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def from_csv(content: bytes) -> Document:
    return [line.split(",") for line in content.decode().splitlines()]


def to_csv(document: Document) -> bytes:
    return "\n".join(",".join(str(cell)[:5000] for cell in line) for line in document).encode(
        "utf-8", "replace"
    )


def from_yaml(content: bytes) -> Document:
    return [line.split(": ") for line in content.decode().splitlines()]


def to_yaml(document: Document) -> bytes:
    return "\n".join(": ".join(str(part)[:5000] for part in line) for line in document).encode(
        "utf-8", "replace"
    )


def from_bundle(content: bytes) -> Document:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return json.loads(archive.read("job.json"))


def signed(document: Document) -> Document:
    """A job with the digest of what it says by now."""
    content = {key: document[key] for key in ("schema", "protocol", "tasks", "models", "about")}
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:20]
    return {**document, "id": digest}


def to_bundle(document: Document) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("job.json", to_json(signed(document)))
    return stream.getvalue()


def from_onnx(content: bytes) -> Document:
    model = onnx.load_from_string(content)
    found = {item.key: item.value for item in model.metadata_props}
    return {key: json.loads(value) if value[:1] in "[{" else value for key, value in found.items()}


MODEL: list[bytes] = []  # the sample, whose graph every spoilt card comes with


def to_onnx(document: Document) -> bytes:
    model = onnx.load_from_string(MODEL[0])
    del model.metadata_props[:]
    for key, value in document.items():
        text = value if isinstance(value, str) else json.dumps(value)
        model.metadata_props.add(key=str(key).replace("\ud800", "?"), value=text.replace("\ud800", "?"))
    return bytes(model.SerializeToString())


WIDTHS = {
    "F64": 8,
    "I64": 8,
    "C64": 8,
    "F16": 2,
    "BF16": 2,
    "I16": 2,
    "BOOL": 1,
    "U8": 1,
    "F8_E4M3": 1,
    "F8_E5M2": 1,
}


def from_tensors(content: bytes) -> Document:
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    for tensor in header.values():
        tensor.pop("data_offsets", None)
    if "training" in header.get("__metadata__", {}):
        header["__metadata__"]["training"] = json.loads(header["__metadata__"]["training"])
    return header


def to_tensors(document: Document) -> bytes:
    """A file of zeros whose offsets fit, whatever dtypes and shapes it has by now."""
    header, end = dict(document), 0
    for name, tensor in document.items():
        if name == "__metadata__":
            if "training" in tensor:
                header[name] = {**tensor, "training": json.dumps(tensor["training"])}
            continue
        start = end
        end += min(math.prod(tensor["shape"]) * WIDTHS.get(tensor["dtype"], 4), 1 << 24)
        header[name] = {**tensor, "data_offsets": [start, end]}
    text = to_json(header)
    return len(text).to_bytes(8, "little") + text + bytes(end)


def from_pth(content: bytes) -> Document:
    loaded = torch.load(io.BytesIO(content), weights_only=True)
    return {key: list(value.shape) for key, value in loaded.items()}


def to_pth(document: Document) -> bytes:
    buffer = io.BytesIO()
    torch.save({key: _tensor(value) for key, value in document.items()}, buffer)
    return buffer.getvalue()


def _tensor(shape: Any) -> Any:
    if isinstance(shape, list) and all(type(side) is int and 0 <= side < 2**40 for side in shape):
        return torch.zeros(1).expand(shape)
    return shape
