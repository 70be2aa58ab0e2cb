"""The run folder: names of its files, opening and resuming it, and the one way in which files are written.

Every file of this package appears whole or not at all (`write_file`): it is written beside its target under a
name that nothing else has, then renamed.
"""

import json
import os
import secrets
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from jnrsfm.config import read_yaml, to_yaml
from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks, ResultCode

SETTINGS_FILE = "config.yaml"
LANDMARKS_FILE = "landmarks.npz"
MODEL_FILE = "model.npz"
LATENT_FILE = "codes.npz"
PHOTOS_FILE = "photos.npz"
QUALITY_FILE = "quality.json"
QUALITY_FILE_BEFORE = "card.json"  # its name in run folders of version 0.1
REPORT_FILE = "report.html"
STILL_FILE = "report.png"
_NAMES_BEFORE = {"card": "quality", "facts": "diagnostics"}
_FREE = ("checkpoint_seconds",)  # how often to save says nothing of the result
RATES_BEFORE = "learning_rates_before"  # in config.yaml, where a run was resumed at a lower rate


def write_file(path, content: bytes | str | Callable[[BinaryIO], object]) -> Path:
    """Write `path` beside itself and rename: a reader sees the former file or the new one, never half of one.

    `content` is bytes, text (written as UTF-8), or a function that writes to the binary stream it is given.
    Raises InputError (one line, with the cause) where the folder is missing, the place is a folder, or the
    system refuses (permission, space); the former file is then untouched and no temporary one is left.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"{path}: is a folder: give the name of a file to write")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
    beside = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        try:
            with open(beside, "xb") as stream:
                if callable(content):
                    content(stream)
                else:
                    stream.write(content.encode() if isinstance(content, str) else content)
            os.replace(beside, path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise InputError(
            f"{path}: cannot be written ({cause}): free space or choose another folder"
        ) from error
    return path


def write_arrays(path, arrays: Mapping[str, Any]) -> Path:
    """Write arrays by name as npz. Raises InputError as `write_file` does."""
    plain = {name: np.asarray(value) for name, value in arrays.items()}
    return write_file(path, lambda stream: np.savez(stream, **plain))  # type: ignore[arg-type]


def write_json(path, value: Any) -> Path:
    """Write plain data as JSON, NaN refused. Raises InputError as `write_file` does."""
    return write_file(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def read_json(path) -> Any:
    """Read JSON. Raises InputError for a missing or damaged file."""
    path = Path(path).expanduser()
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error}): write it again") from error


def read_record(folder: Path) -> dict[str, Any]:
    """What `config.yaml` of a run folder says: `method`, `camera`, `seed`, `config`.

    Raises InputError where there is none, or where it is not the settings of a run.
    """
    if not (folder / SETTINGS_FILE).is_file():
        raise InputError(f"{folder}: no run folder (no {SETTINGS_FILE}): name the --out of jnrsfm fit")
    record = read_yaml(folder / SETTINGS_FILE)
    if "method" not in record:
        raise InputError(f"{folder / SETTINGS_FILE}: names no method: not a run's settings")
    return record


def read_quality(folder: Path) -> dict[str, Any]:
    """What `quality.json` of a finished run says: `seconds`, `code` (a `ResultCode`), `quality`, `diagnostics`.

    Run folders of version 0.1 have `card.json` with `card` and `facts`, and no `code`; they are read too.
    Raises InputError where the run has not finished or the file is damaged.
    """
    path = folder / QUALITY_FILE
    if not path.is_file():
        path = folder / QUALITY_FILE_BEFORE
    if not path.is_file():
        raise InputError(f"{folder}: holds no {QUALITY_FILE}: the run has not finished (jnrsfm fit --resume)")
    plain = read_json(path)
    if not isinstance(plain, dict):
        raise InputError(f"{path}: is no quality report: fit again, or name another run")
    plain = {_NAMES_BEFORE.get(key, key): value for key, value in plain.items()}
    plain = {"seconds": None, "code": ResultCode.CONVERGED.value, "quality": {}, "diagnostics": {}} | plain
    known = {code.value: code for code in ResultCode}
    if plain["code"] not in known:
        raise InputError(f"{path}: code {plain['code']!r} is unknown: it is one of {', '.join(known)}")
    return plain | {"code": known[plain["code"]]}


def open_run(folder: Path, record: dict[str, Any]) -> None:
    """Create a run folder with its settings. Raises InputError where another run is in it, or it cannot be made."""
    try:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: holds another run: choose another folder, empty it, or resume")
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write ({error.strerror}): choose another folder or make room"
        ) from error
    write_file(folder / SETTINGS_FILE, to_yaml(record))


def resume_run(folder: Path, record: dict[str, Any], changed: list[str], finished: bool) -> None:
    """Check that a run folder was made with the settings of `record`, so that its checkpoints may be gone on from.

    `changed` names the observations that differ from the stored ones (`changed_observations`). One setting may
    change: an unfinished run that diverged goes on at a lower learning rate, and the former rates stay on record.
    Raises InputError where anything else differs.
    """
    before = read_record(folder)
    rates = before.pop(RATES_BEFORE, [])
    if before.get("method") != record.get("method"):  # its settings are others altogether
        raise InputError(
            f"{folder}: is a run of {before.get('method')}: resume with --method {before.get('method')}, or choose "
            "another folder"
        )
    changed = [*(n for n in changed_settings(before, record) if n not in _FREE), *changed]
    lowered = changed == ["learning_rate"] and not finished
    lowered = lowered and record["config"]["learning_rate"] < before["config"]["learning_rate"]
    if changed and not lowered:
        raise InputError(
            f"{folder}: was run with another {', '.join(changed)}: resume with the same (the learning rate of an "
            "unfinished run may be lowered), or choose another folder"
        )
    if lowered:
        rates = [*rates, before["config"]["learning_rate"]]
    if rates:
        record[RATES_BEFORE] = rates
        write_file(folder / SETTINGS_FILE, to_yaml(record))


def changed_settings(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ, those of the method by their own names."""
    names = []
    for name in {**before, **now}:
        a, b = before.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            names += changed_settings(a, b)
        elif a != b:
            names.append(name)
    return names


def changed_observations(before: Landmarks, now: Landmarks) -> list[str]:
    """Names of the observations that differ; what is stored at a hidden point does not count."""

    def plain(landmarks: Landmarks, name: str) -> np.ndarray | None:
        value = getattr(landmarks, name)
        if name == "points2d":
            value = np.where(np.asarray(landmarks.visible)[..., None], np.asarray(value), 0)
        return None if value is None else np.asarray(value, np.float32)

    def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
        return (a is None and b is None) or (a is not None and b is not None and np.array_equal(a, b))

    names = ("visible", "points2d", "confidence", "intrinsics", "sequence", "edges", "symmetric")
    return [name for name in names if not same(plain(before, name), plain(now, name))]
