"""States as bytes that load without running code, and that show whether a bit has changed.

The bytes are what `torch.save` writes, a zip archive, with the SHA-256 of everything before it as the archive's
comment: `torch.load(path, weights_only=True)` opens such a file as any other.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from tempomat.core.errors import Fault, StateError, join_path, list_faults, shown

DEPTH = 32
"""Levels that a state may have."""

BITS = 2_000
"""Longest integer: the restricted reader takes 255 bytes."""

MARK = "__numpy__"
END = b"PK\x05\x06"
END_LENGTH, DIGEST_LENGTH = 22, 64
PLAIN = (str, float, bool, type(None))


def to_bytes(state: Any) -> bytes:
    """Pack a state of dicts, lists, tuples, numbers, strings, NumPy arrays and numbers, and tensors.

    Raises:
        StateError: it holds something else; every such place is named.
    """
    faults: list[Fault] = []
    packed = _packed(state, "", faults)
    if faults:
        raise StateError(list_faults("checkpoint", faults), faults)
    buffer = io.BytesIO()
    torch.save(packed, buffer)
    return _sealed(buffer.getvalue())


def from_bytes(content: bytes) -> Any:
    """The state again: arrays are arrays, with their dtype; tensors are on the CPU.

    Raises:
        StateError: a byte is missing or changed, or it was not written by `to_bytes`.
    """
    check_seal(content)
    try:
        return _unpacked(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises what it likes, pickle's own errors among it
        raise StateError(f"holds more than plain data and tensors: {shown(str(error), 200)}") from error


def check_seal(content: bytes) -> None:
    """Raise `StateError` unless these are all the bytes that were written."""
    body, digest = content[:-DIGEST_LENGTH], content[-DIGEST_LENGTH:]
    if len(content) < END_LENGTH + DIGEST_LENGTH or body[-END_LENGTH:][:4] != END:
        raise StateError("is cut short, or no checkpoint")
    if hashlib.sha256(body).hexdigest().encode() != digest:
        raise StateError("is damaged: its bytes are not those that were written")


def _sealed(archive: bytes) -> bytes:
    if archive[-END_LENGTH:][:4] != END or archive[-2:] != b"\0\0":
        raise StateError("checkpoint: this PyTorch writes archives that end otherwise. Please report it.")
    body = archive[:-2] + DIGEST_LENGTH.to_bytes(2, "little")
    return body + hashlib.sha256(body).hexdigest().encode()


def _packed(value: Any, path: str, faults: list[Fault], depth: int = 0) -> Any:
    if isinstance(value, torch.Tensor):
        return _packed_tensor(value, path, faults)
    if isinstance(value, np.ndarray | np.generic):  # before the plain ones: np.float64 is a float too
        return _packed_array(value, path, faults)
    if type(value) in PLAIN or (type(value) is int and value.bit_length() <= BITS):
        return value
    if depth == DEPTH:
        faults.append(Fault(path, f"must be at most {DEPTH} levels deep."))
    elif isinstance(value, list | tuple) and type(value) in (list, tuple):
        return type(value)([_packed(one, f"{path}[{n}]", faults, depth + 1) for n, one in enumerate(value)])
    elif isinstance(value, dict) and MARK not in value:
        faults += [Fault(path, f"a key must be a string or an integer, got {key}.") for key in _wrong_keys(value)]
        return {key: _packed(one, join_path(path, str(key)), faults, depth + 1) for key, one in value.items()}
    else:
        faults.append(Fault(path, f"must be plain data, an array or a tensor, got {shown(value)}."))
    return None


def _wrong_keys(value: dict[Any, Any]) -> Iterator[str]:
    return (shown(key) for key in value if type(key) is not str and (type(key) is not int or key.bit_length() > BITS))


def _packed_tensor(value: torch.Tensor, path: str, faults: list[Fault]) -> torch.Tensor | None:
    if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout is not torch.strided:
        faults.append(Fault(path, f"must be a dense tensor, got {type(value).__name__} of {value.layout}."))
        return None
    value = value.detach()
    # The whole storage is written: of a view, that would be far more than it shows.
    return value if value.untyped_storage().nbytes() == value.numel() * value.element_size() else value.clone()


def _packed_array(value: Any, path: str, faults: list[Fault]) -> dict[str, Any] | None:
    """As bytes, since torch has not every dtype of NumPy."""
    if value.dtype.hasobject or value.dtype.names:
        faults.append(Fault(path, f"must be an array of numbers, got one of {value.dtype}."))
        return None
    raw = torch.frombuffer(bytearray(value.tobytes()), dtype=torch.uint8) if value.nbytes else torch.empty(0)
    return {MARK: value.dtype.str, "shape": list(value.shape), "scalar": isinstance(value, np.generic), "bytes": raw}


def _unpacked(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_unpacked(one) for one in value)
    if isinstance(value, dict) and MARK in value:
        flat = np.frombuffer(value["bytes"].numpy().tobytes(), np.dtype(value[MARK]))
        array = flat.reshape(value["shape"]).copy()
        return array[()] if value["scalar"] else array
    if isinstance(value, dict):
        return {key: _unpacked(one) for key, one in value.items()}
    return value
