"""Arrays and numbers in JSON files: written whole, and read back as numbers or not at all."""

import base64
from typing import Any

import numpy as np
import numpy.typing as npt


def pack_array(array: npt.NDArray[Any]) -> dict[str, Any]:
    """An array as JSON: its shape, and base64 of little-endian float32."""
    return {"shape": list(array.shape), "data": base64.b64encode(array.astype("<f4").tobytes()).decode()}


def unpack_array(packed: dict[str, Any]) -> npt.NDArray[np.float32]:
    """Read back what `pack_array` gave; raises KeyError, TypeError or ValueError when it cannot."""
    values = np.frombuffer(base64.b64decode(packed["data"], validate=True), dtype="<f4")
    if not np.isfinite(values).all():
        raise ValueError("a number is not finite")
    return values.reshape(packed["shape"]).astype(np.float32)


def unpack_numbers(parameters: dict[str, Any], key: str) -> npt.NDArray[np.float64]:
    """Numbers of a file as an array; raises KeyError or ValueError for others.

    A text or a boolean is none, though numpy would take it for one.
    """
    values = np.array(parameters[key])
    if values.dtype.kind not in "iuf" or not np.isfinite(values).all():
        raise ValueError(f"{key}: expected finite numbers, got {values.dtype}")
    return values.astype(np.float64)


def unpack_number(parameters: dict[str, Any], key: str) -> float:
    """The same of a single one."""
    return float(unpack_numbers(parameters, key).item())
