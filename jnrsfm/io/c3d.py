"""C3D, the binary of marker positions that motion capture uses: blocks of 512 bytes, little- or big-endian, integers
or floats. A residual below 0 is a missing marker. Read here by hand, within the bounds of the file.

Source: the C3D format's user guide (c3d.org).
"""

from pathlib import Path

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io._pose import Pose, pose_format, refuse_large
from jnrsfm.io._text import start_of

_INTEL, _DEC, _MIPS = 84, 85, 86


def parse(path: Path) -> Pose:
    """What the file holds: 3D, a reference. Raises InputError."""
    if path.stat().st_size > 4_000_000_000:
        raise InputError(f"{path}: is over 4 GB: split it")
    data = path.read_bytes()
    try:
        return _parse(data, path)
    except (IndexError, ValueError, UnicodeDecodeError, OverflowError, KeyError) as error:
        raise InputError(f"{path}: the C3D is damaged ({str(error)[:80]}): export it again") from error


def _parse(data: bytes, path: Path) -> Pose:
    if len(data) < 1024 or data[1] != 0x50:
        raise InputError(f"{path}: no C3D file: its second byte must be 80")
    start = 512 * (data[0] - 1)
    processor = data[start + 3]
    if processor not in (_INTEL, _DEC, _MIPS):
        raise InputError(f"{path}: the C3D is of an unknown processor ({processor})")
    order = ">" if processor == _MIPS else "<"
    words = np.frombuffer(data[:512], f"{order}u2")
    groups = _parameters(data, start, order, processor)
    point = groups.get("POINT", {})
    n = int(words[1])
    first, last = int(words[3]), int(words[4])
    frames = last - first + 1
    stored = _numbers(point.get("FRAMES"), order, processor)
    if stored is not None and len(stored) and int(stored[0]) % 65536 > 0 and int(stored[0]) % 65536 != frames:
        frames = int(stored[0]) % 65536 if last >= 65535 or frames <= 0 else frames
    scale = float(_floats(data[12:16], order, processor)[0])
    begin = 512 * (int(words[8]) - 1)
    per_frame = 4 * n + int(words[2])
    width = 4 if scale < 0 else 2
    if n <= 0 or begin < 512 or begin > len(data):
        raise InputError(
            f"{path}: the C3D has {n} points and data from byte {begin}: it is damaged, or has no markers"
        )
    held = (len(data) - begin) // (per_frame * width)
    if frames > held or frames <= 0:
        raise InputError(f"{path}: says {frames} frames and holds {held}: the file is truncated")
    refuse_large((frames, n, 4), path)
    raw = data[begin : begin + frames * per_frame * width]
    values = (
        _floats(raw, order, processor) if width == 4 else np.frombuffer(raw, f"{order}i2").astype(np.float64)
    )
    values = values.reshape(frames, per_frame)[:, : 4 * n].reshape(frames, n, 4).astype(np.float64)
    points = values[..., :3] * (1.0 if scale < 0 else scale)
    points = np.where((values[..., 3:] < 0) | ~np.isfinite(points).all(-1, keepdims=True), np.nan, points)
    names = [text for key in ("LABELS", "LABELS2", "LABELS3") for text in _texts(point.get(key))][:n]
    names += [f"point {i}" for i in range(len(names), n)]
    units = _texts(point.get("UNITS"))
    rate = float(_floats(data[20:24], order, processor)[0])
    return Pose(
        points=points[:, None], names=_unique(names), world=True, fps=rate if 0 < rate < 1e5 else None,
        units=units[0] if units else None, numbers=first + np.arange(frames),
    )  # fmt: skip


def _unique(names: list[str]) -> tuple[str, ...]:
    """Names without doubles: the second `Head` is `Head 2`."""
    seen: dict[str, int] = {}
    out = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        out.append(name if seen[name] == 1 else f"{name} {seen[name]}")
    return tuple(out) if len(set(out)) == len(out) else tuple(f"{n} #{i}" for i, n in enumerate(out))


def _floats(raw: bytes, order: str, processor: int) -> np.ndarray:
    if processor == _DEC:  # words swapped, exponent higher by 2
        words = np.frombuffer(raw[: len(raw) // 4 * 4], "<u2").reshape(-1, 2)[:, ::-1]
        with np.errstate(over="ignore", invalid="ignore"):
            return np.ascontiguousarray(words).view("<f4").reshape(-1) / 4
    return np.frombuffer(raw[: len(raw) // 4 * 4], f"{order}f4")


def _parameters(data: bytes, start: int, order: str, processor: int):
    """`{group: {name: (type, dimensions, bytes)}}`; stops at the first thing that cannot be."""
    names: dict[int, str] = {}
    found: list[tuple[int, str, tuple[int, tuple[int, ...], bytes]]] = []
    at = start + 4
    end = min(len(data), start + 512 * max(data[start + 2], 1) + 512 * 256)
    while at + 4 < end:
        length, group = data[at], int(np.int8(data[at + 1] - 256 if data[at + 1] > 127 else data[at + 1]))
        length = length if length < 128 else 256 - length  # a locked one
        if not length or not group:
            break
        name = data[at + 2 : at + 2 + length].decode("latin-1").upper()
        link = at + 2 + length
        jump = int(np.frombuffer(data[link : link + 2], f"{order}u2")[0])
        if group < 0:
            names[-group] = name
        else:
            size, dims = data[link + 2], data[link + 3]
            size = size - 256 if size > 127 else size
            shape = tuple(data[link + 4 : link + 4 + dims])
            total = int(np.prod(shape, dtype=np.int64)) * abs(size)
            body = link + 4 + dims
            if dims > 7 or body + total > len(data):
                break
            found.append((group, name, (size, shape, data[body : body + total])))
        if not jump:
            break
        at = link + jump
    groups: dict[str, dict[str, tuple[int, tuple[int, ...], bytes]]] = {}
    for group, name, value in found:
        groups.setdefault(names.get(group, str(group)), {})[name] = value
    return groups


def _texts(parameter) -> list[str]:
    """A parameter of characters as texts."""
    if parameter is None or parameter[0] != -1 or not parameter[1]:
        return []
    width = parameter[1][0]
    raw = parameter[2].decode("latin-1")
    return [raw[i : i + width].strip("\0 ") for i in range(0, len(raw), width)] if width else []


def _numbers(parameter, order: str, processor: int) -> np.ndarray | None:
    if parameter is None:
        return None
    size, _, raw = parameter
    if size == 4:
        return _floats(raw, order, processor)
    return np.frombuffer(raw, {1: "u1", 2: f"{order}u2"}[size]) if size in (1, 2) else None


def sniff(path: Path) -> bool:
    """Whether the second byte is 80 and the parameters begin where the first says."""
    start = start_of(path, 512 * 40)
    if len(start) < 1024 or start[1] != 0x50 or not 2 <= start[0] <= 40:
        return False
    at = 512 * (start[0] - 1)
    return at + 3 < len(start) and start[at + 3] in (_INTEL, _DEC, _MIPS)


FORMAT = pose_format("c3d", (".c3d",), "C3D marker positions (motion capture); a reference", parse, sniff)
