"""What a verb answers: data for `--json`, text for people."""

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a verb found: `data` for `--json`, `text` for people."""

    data: dict[str, Any]
    text: str


def jsonable(value: Any) -> Any:
    """A value as strict JSON takes it: arrays as lists, NaN and infinity as null, paths as strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: jsonable(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): jsonable(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(v) for v in value]
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return jsonable(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, bool | int | str) else str(value)


def fit_answer(method: str, result: Any, out: Path) -> Answer:
    """What a fit found, for machines and for people."""
    from jnrsfm.metrics import format_quality
    from jnrsfm.types import ResultCode

    about = summary(result.result)
    data = {
        "method": method,
        "out": out,
        **about,
        "code": result.code.value,
        "advice": result.code.advice,
        "quality": result.quality,
    }
    told = result.quality.get("verdict")
    lines = ([] if told is None else [told["text"]]) + [describe(about)]
    if result.code is not ResultCode.CONVERGED:
        lines.append(f"{result.code.value}: {result.code.advice}")
    return Answer(
        data, "\n".join(lines) + f"\n\n{format_quality(result.quality)}\n\nopen {out / 'report.html'}"
    )


def summary(result: Any) -> dict[str, Any]:
    """What there is to say of a result in one line, by its type, as plain values; what was resolved is in it."""
    names = {"frames": "n_frames", "points": "n_points"}
    sizes = {name: getattr(result, field) for name, field in names.items() if hasattr(result, field)}
    return {"kind": type(result).__name__, **sizes, **result.resolved}


def describe(about: dict[str, Any]) -> str:
    """`summary` as a line for people."""
    if "camera" not in about:
        sizes = ", ".join(f"{about[name]} {name}" for name in ("frames",) if name in about)
        return f"{about['kind']}{', ' * bool(sizes)}{sizes}: {about['scale']}"
    sizes = ", ".join(f"{about[name]} {name}" for name in ("frames", "points") if name in about)
    if "reflection" not in about:
        rest = ", ".join(f"{k}: {about[k]}" for k in about if k not in ("kind", "frames", "points"))
        return f"{about['kind']}, {rest}"
    return f"{sizes or about['kind']}, {about['camera']} camera, depth reflection: {about['reflection']}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Rows as columns of text."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(cell.ljust(n) for cell, n in zip(row, widths, strict=True)) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def number(value: Any) -> str:
    """Four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def yes_or_no(flag: bool) -> str:
    """A flag for people."""
    return "yes" if flag else "no"
