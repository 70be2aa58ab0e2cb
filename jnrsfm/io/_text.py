"""Text and JSON files, bounded: size, encoding and depth are checked, and errors are one line."""

import json
from pathlib import Path
from typing import Any

from jnrsfm.errors import InputError

LARGEST_TEXT = 2_000_000_000


def start_of(path: Path, size: int = 1 << 16) -> bytes:
    """The first bytes of a file; none where it cannot be read (sniffing must not fail)."""
    try:
        with open(path, "rb") as stream:
            return stream.read(size)
    except OSError:
        return b""


def read_text(path: Path) -> str:
    """A text file, UTF-8 with or without byte-order mark, else Latin-1. Raises InputError for what is no text."""
    if path.stat().st_size > LARGEST_TEXT:
        raise InputError(f"{path}: is over 2 GB of text: split it, or export a binary format")
    data = path.read_bytes()
    if b"\0" in data[:65536]:
        raise InputError(f"{path}: is no text file: name its format, or export it again")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def read_json(path: Path) -> Any:
    """A JSON file. Raises InputError."""
    text = read_text(path)
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        cause = str(error).splitlines()[0][:120]
        raise InputError(f"{path}: cannot be read as JSON ({cause}): write or copy it again") from error


def number(value: Any) -> float:
    """A number of a file; NaN for what is none."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return float("nan")
    try:
        return float(value)
    except OverflowError:
        return float("nan")
