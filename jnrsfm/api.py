"""The library in three calls: `fit`, `load`, `write_run_report`; and the demo."""

import dataclasses
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from jnrsfm import datasets, io, metrics
from jnrsfm.config import from_plain, read_yaml, to_plain, to_yaml
from jnrsfm.errors import InputError
from jnrsfm.methods import METHODS, Fitted, MethodInfo, Model
from jnrsfm.methods.base import Latent
from jnrsfm.training import Session
from jnrsfm.types import Landmarks, Reconstruction

MODEL_FILE = "model.npz"
RECONSTRUCTION_FILE = "reconstruction.npz"
LANDMARKS_FILE = "landmarks.npz"
CARD_FILE = "card.json"
LATENT_FILE = "codes.npz"
RATES_BEFORE = "learning_rates_before"  # in config.yaml, where a run was resumed at a lower rate


@dataclasses.dataclass(frozen=True, eq=False)
class FitResult:
    """What `fit` gives: 3D, the model (learned methods), the label-free report card, the training record, the
    resolved settings, the run folder, and plain figures of the method."""

    reconstruction: Reconstruction
    model: Model | None
    card: dict[str, Any]
    history: list[dict[str, Any]]
    config: Any
    out: Path | None
    facts: dict[str, Any]


def fit(
    landmarks: Landmarks,
    method: str = "deep-nrsfm++",
    *,
    camera: str | None = None,
    restarts: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    reference: Reconstruction | None = None,
    config: Any = None,
    progress: bool = True,
    **overrides: Any,
) -> FitResult:
    """Reconstruct 3D shapes and cameras from 2D landmarks.

    `camera`: "orthographic", "weak-perspective" or "perspective"; None takes the landmarks' own, else
    orthographic. `config` is the method's `Config` (default settings where None); `restarts` and other
    keyword arguments override its fields. With `out` a run folder is written: `config.yaml`, `metrics.jsonl`,
    `checkpoints/`, `landmarks.npz`, `model.npz`, `codes.npz` (methods with a latent space), `reconstruction.npz`,
    `card.json`, `report.html`, `report.png`; `resume=True` goes on with an interrupted one, or at a lower
    `learning_rate` with one that diverged.
    `reference` is 3D to show and score in the report; nothing is fitted to it or chosen by it.

    Raises InputError, one line, for what the user can mend: unknown method or setting, landmarks that do not
    suffice for the camera, a folder that holds another run, training that diverges.
    """
    info = _method(method)
    camera = _camera(landmarks, camera, info)
    config = _config(info, config, restarts, overrides)
    if not 0 <= seed < 2**31:
        raise InputError(f"seed is {seed}: it must be a whole number from 0 to {2**31 - 1}")
    io.check_landmarks(landmarks, camera)
    if reference is not None and reference.points3d.shape[:2] != landmarks.points2d.shape[:2]:
        raise InputError(
            f"the reference has {reference.points3d.shape[:2]} frames and points, the landmarks "
            f"{landmarks.points2d.shape[:2]}: give the same frames and points"
        )
    folder = None if out is None else Path(out).expanduser()
    record = {"method": info.name, "camera": camera, "seed": seed, "config": to_plain(config)}
    if folder is not None:
        _open_run(folder, record, landmarks, reference, resume)
    begun = time.monotonic()
    session = Session(folder, resume=resume, progress=progress)
    fitted = info.fit(landmarks, camera, config, seed, session)
    reconstruction, card = _judge(landmarks, fitted)
    if folder is not None:
        if fitted.model is not None:
            fitted.model.save(folder / MODEL_FILE)
        io.write_reconstruction(folder / RECONSTRUCTION_FILE, reconstruction)
        if fitted.latent is not None:
            _write_latent(folder / LATENT_FILE, fitted.latent)
        facts = {"seconds": round(time.monotonic() - begun, 1), "card": card, "facts": fitted.facts}
        io.write_json(folder / CARD_FILE, facts)
        write_run_report(folder)
    return FitResult(reconstruction, fitted.model, card, session.history, config, folder, fitted.facts)


def load(run: str | Path) -> Model:
    """The trained model of a run folder, to `lift` unseen frames with.

    Raises InputError where the folder holds no finished run of a learned method.
    """
    run = Path(run).expanduser()
    info = _method(str(_run_record(run)["method"]))
    if info.load is None:
        raise InputError(f"{run}: {info.name} is a solver and has no model: fit the new frames instead")
    if not (run / MODEL_FILE).is_file():
        raise InputError(f"{run}: holds no {MODEL_FILE}: the run has not finished (jnrsfm fit --resume)")
    return info.load(run / MODEL_FILE)


def lift(model: Model, landmarks: Landmarks, where: str = "landmarks") -> Reconstruction:
    """3D of unseen frames by a trained model, checked as `fit` checks its input."""
    io.check_landmarks(landmarks, model.camera, where, min_frames=1)
    return model.lift(landmarks)


def write_run_report(run: str | Path, reference: Reconstruction | None = None) -> Path:
    """Write `report.html` and, where matplotlib is at hand, `report.png` of a finished run; returns the page.

    `reference` replaces the 3D that the run was given to compare with. Raises InputError for an unfinished
    run.
    """
    from jnrsfm import report

    run = Path(run).expanduser()
    record = _run_record(run)
    for name in (LANDMARKS_FILE, RECONSTRUCTION_FILE, CARD_FILE):
        if not (run / name).is_file():
            raise InputError(f"{run}: holds no {name}: the run has not finished (jnrsfm fit --resume)")
    landmarks = io.read_landmarks(run / LANDMARKS_FILE)
    reconstruction = io.read_reconstruction(run / RECONSTRUCTION_FILE)
    if reference is None:
        reference = io.read_reference(run / LANDMARKS_FILE)
    facts = io.read_json(run / CARD_FILE)
    # A perspective reconstruction has a unit of its own: only protocols that fit the scale say something.
    scale_free = ["deep-nrsfm++", "kong"] if reconstruction.cameras.model == "perspective" else None
    scores = None if reference is None else metrics.evaluate(reconstruction, reference, scale_free)
    parts: dict[str, Any] = {
        "landmarks": landmarks,
        "reconstruction": reconstruction,
        "reference": reference,
        "history": Session(run, resume=True).history,
        "card": facts["card"],
        "settings": {**record, "seconds": facts["seconds"]},
        "scores": scores,
    }
    latent = None
    if (run / LATENT_FILE).is_file():
        with np.load(run / LATENT_FILE, allow_pickle=False) as file:
            latent = {"codes": file["codes"], "between": file["between"]}
        latent |= {"sequence": landmarks.sequence, "edges": landmarks.edges}
    page = report.write_report(run / "report.html", latent=latent, **parts)
    try:
        report.write_png(run / "report.png", **parts)
    except InputError as error:  # matplotlib is an extra; the page does without
        warnings.warn(str(error), stacklevel=2)
    return page


def demo(out: str | Path = "demo", *, seed: int = 0, progress: bool = True) -> FitResult:
    """Train on the embedded example: a figure seen by a moving perspective camera, limbs hidden at times."""
    landmarks, reference = datasets.make("demo", seed=seed)
    return fit(landmarks, out=out, reference=reference, seed=seed, progress=progress, **DEMO)


# Small enough for four minutes on two cores, long enough to be a pleasure to look at.
DEMO: dict[str, Any] = {"steps": 9_000}


def _method(name: str) -> MethodInfo:
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]


def _camera(landmarks: Landmarks, camera: str | None, info: MethodInfo) -> str:
    """The camera asked for, else the landmarks' own; a file that says perspective but has no intrinsics is
    seen by weak perspective, the nearest model that needs none."""
    if camera is None:
        camera = landmarks.camera or "orthographic"
        if camera == "perspective" and landmarks.intrinsics is None:
            warnings.warn("perspective without intrinsics: using the weak-perspective camera", stacklevel=3)
            camera = "weak-perspective"
    if camera not in info.cameras:
        raise InputError(f"method {info.name} has no {camera} camera: choose from {', '.join(info.cameras)}")
    return camera


def _config(info: MethodInfo, config: Any, restarts: int | None, overrides: dict[str, Any]) -> Any:
    """The method's config with overrides, refusing what it does not know."""
    config = info.config() if config is None else config
    if not isinstance(config, info.config):
        raise InputError(
            f"config is a {type(config).__name__}: method {info.name} takes {info.config.__name__}"
        )
    if restarts is not None:
        overrides = {"restarts": restarts, **overrides}
    return from_plain(overrides, config, f"method {info.name}")


def _judge(landmarks: Landmarks, fitted: Fitted) -> tuple[Reconstruction, dict[str, Any]]:
    """The reconstruction with its uncertainty, and the report card."""
    reconstruction = fitted.reconstruction
    if fitted.restarts is not None:
        spread = np.asarray(metrics.restart_spread(fitted.restarts, defined=landmarks.defined))
        if reconstruction.scale is not None:  # from camera units to those of the shape
            spread = spread / np.asarray(reconstruction.scale)[:, None]
        reconstruction = reconstruction.replace(score=spread.astype(np.float32))
    card = metrics.report_card(landmarks, reconstruction, heldout=fitted.heldout, restarts=fitted.restarts)
    return reconstruction, card


def _open_run(folder: Path, record: dict[str, Any], landmarks: Landmarks, reference, resume: bool) -> None:
    """Create a run folder, or check that the one to resume was made with the same settings. One may change: a run that
    diverged goes on from its last good checkpoint at a lower learning rate."""
    if resume:
        before = _run_record(folder)
        rates = before.pop(RATES_BEFORE, [])
        changed = _changed(before, record)
        if (folder / LANDMARKS_FILE).is_file():
            changed += _other_landmarks(io.read_landmarks(folder / LANDMARKS_FILE), landmarks)
        finished = (folder / RECONSTRUCTION_FILE).is_file()
        lowered = changed == ["learning_rate"] and not finished
        lowered = lowered and record["config"]["learning_rate"] < before["config"]["learning_rate"]
        if changed and not lowered:
            raise InputError(
                f"{folder}: was run with another {', '.join(changed)}: resume with the same (the learning rate of an "
                "unfinished run may be lowered), or choose another folder"
            )
        if lowered:
            rates = [*rates, before["config"]["learning_rate"]]
        if rates:  # how it was trained until now stays on record
            record[RATES_BEFORE] = rates
            _write_settings(folder, record)
        return
    try:
        if folder.exists() and any(folder.iterdir()):
            raise InputError(f"{folder}: holds another run: choose another folder, empty it, or resume")
        folder.mkdir(parents=True, exist_ok=True)
        io.write_landmarks(folder / LANDMARKS_FILE, landmarks, reference)
        _write_settings(folder, record)
    except OSError as error:
        raise InputError(
            f"{folder}: cannot write ({error.strerror}): choose another folder or make room"
        ) from error


def _write_latent(path: Path, latent: Latent) -> None:
    beside = path.with_suffix(".tmp.npz")
    np.savez(beside, codes=np.asarray(latent.codes), between=np.asarray(latent.between))
    beside.replace(path)


def _write_settings(folder: Path, record: dict[str, Any]) -> None:
    beside = folder / "config.tmp"
    beside.write_text(to_yaml(record))
    beside.replace(folder / "config.yaml")


def _changed(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """Names of the settings that differ, those of the method by their own names."""
    names = []
    for name in {**before, **now}:
        a, b = before.get(name), now.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            names += _changed(a, b)
        elif a != b:
            names.append(name)
    return names


def _other_landmarks(before: Landmarks, now: Landmarks) -> list[str]:
    """Names of the observations that differ: a checkpoint of other landmarks must not go on with these."""

    def plain(landmarks: Landmarks, name: str) -> np.ndarray | None:
        value = getattr(landmarks, name)
        if name == "points2d":  # what is stored for a hidden point is nothing
            value = np.where(np.asarray(landmarks.visible)[..., None], np.asarray(value), 0)
        return None if value is None else np.asarray(value, np.float32)

    def same(a: np.ndarray | None, b: np.ndarray | None) -> bool:
        return a is b if a is None or b is None else np.array_equal(a, b)

    names = ("visible", "points2d", "confidence", "intrinsics", "sequence", "edges", "symmetric")
    return [name for name in names if not same(plain(before, name), plain(now, name))]


def _run_record(run: Path) -> dict[str, Any]:
    """What `config.yaml` of a run says."""
    if not (run / "config.yaml").is_file():
        raise InputError(f"{run}: no run folder (no config.yaml): name the --out of jnrsfm fit")
    record = read_yaml(run / "config.yaml")
    if "method" not in record:
        raise InputError(f"{run / 'config.yaml'}: names no method: not a run's settings")
    return record
