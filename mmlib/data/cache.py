"""An array kept in the user's cache folder, so that what was rendered once need not be rendered again.

A file is 32 bytes of SHA-256, then the array's bytes. A damaged file is made again; two processes that make it at once
do not hurt each other, since each writes a file of its own and renames it; a folder that cannot be written only costs
the time to make the array again. (joblib.Memory keeps no checksum, and fails where it cannot write.)
"""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from platformdirs import user_cache_path

from mmlib.atomic import atomic_write


def cached_array(name: str, shape: tuple[int, ...], make: Callable[[], UInt8[np.ndarray, "..."]]) -> np.ndarray:
    """Give the array kept under `name`, or make it and keep it.

    Args:
        name: file name; must change whenever what `make` gives would change.
        shape: the array's shape; bytes are uint8.
        make: makes the array.
    """
    path = cache_folder() / name
    array = _read(path, shape)
    if array is None:
        array = np.ascontiguousarray(make(), dtype=np.uint8)
        with contextlib.suppress(OSError):  # a full disk, a read-only home
            _write(path, array)
    return array


def cache_folder() -> Path:
    """Where mmlib keeps what it made: `MMLIB_CACHE` if that is set, else the system's place for a user's caches."""
    return Path(os.environ.get("MMLIB_CACHE") or user_cache_path("mmlib"))


def _read(path: Path, shape: tuple[int, ...]) -> np.ndarray | None:
    try:
        content = bytearray(path.read_bytes())  # writable, as torch wants its arrays
    except OSError:
        return None
    digest, body = content[:32], memoryview(content)[32:]
    if len(body) != np.prod(shape) or hashlib.sha256(body).digest() != digest:
        return None
    return np.frombuffer(body, dtype=np.uint8).reshape(shape)


def _write(path: Path, array: np.ndarray) -> None:
    with atomic_write(path) as unfinished, open(unfinished, "wb") as file:
        file.write(hashlib.sha256(array).digest())
        file.write(array)
