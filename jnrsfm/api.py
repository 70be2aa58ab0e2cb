"""The library in a few calls: `read`, `fit`, `load`, `lift`, `write_run_report`."""

import dataclasses
import os
import time
import warnings
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jnrsfm import citations, depth_fits, io, metrics, report, runs, scene_fits
from jnrsfm.config import DEFAULT_METHOD, from_plain, to_plain
from jnrsfm.depth_maps import FramePairs
from jnrsfm.errors import InputError
from jnrsfm.inputs.doubted_points import reweighed
from jnrsfm.inputs.empty_frames import put_back
from jnrsfm.inputs.swaps import describe_swaps, exchanged, find_swaps
from jnrsfm.lifting import TrainedModel as TrainedModel
from jnrsfm.lifting import lift as lift
from jnrsfm.methods import METHODS, MethodInfo
from jnrsfm.report import Contents
from jnrsfm.result_runs import write_result_report
from jnrsfm.scenes import DynamicScene
from jnrsfm.training import Session, hosts
from jnrsfm.types import LabelledImages, Landmarks, Reconstruction, Result, ResultCode


@dataclasses.dataclass(frozen=True, eq=False)
class FitResult:
    """What `fit` gives.

    `result`: the 3D, of the type that the method gives (`Reconstruction`: points). `model` lifts unseen frames
    (learned methods). `quality`: what to expect of it, without ground truth (`metrics.assess`). `code` says how the fit
    ended, `code.advice` what to do. `diagnostics`: plain values of the method. `history`: the training record.
    `config`: the settings as resolved. `out`: the run folder. `scores`: errors by protocol, where a reference was
    given.
    """

    result: Result
    model: TrainedModel | None
    quality: dict[str, Any]
    history: list[dict[str, Any]]
    config: Any
    out: Path | None
    diagnostics: dict[str, Any]
    code: ResultCode = ResultCode.CONVERGED
    scores: dict[str, Any] | None = None
    contents: Contents | None = dataclasses.field(default=None, repr=False)

    @property
    def reconstruction(self) -> Reconstruction:
        """The result as a reconstruction of points. Raises InputError where the method gives something else."""
        if not isinstance(self.result, Reconstruction):
            raise InputError(f"the result is a {type(self.result).__name__}: it stands in `.result`")
        return self.result

    @property
    def resolved(self) -> dict[str, Any]:
        """What one camera leaves open, how each was resolved, and how surely."""
        return self.result.resolved

    @property
    def fig(self) -> Any:
        """The matplotlib figure that a run keeps as `report.png`. Raises InputError without matplotlib."""
        return report.figure(self.contents or self.result)

    def _repr_html_(self) -> str:
        return report.notebook_html(self.contents or self.result)

    def save(self, path: str | Path) -> Path:
        """Write the result itself to one file (`out` has the whole run). Raises InputError."""
        return self.result.save(path)


def read(path: Any, format: str | None = None, **options: Any) -> Any:
    """`Landmarks` of a pose tool's file, or of any registered format (options: `jnrsfm.io.read_landmarks`); a list or a
    pattern (`*.h5`) makes one set, a clip each. Of a folder of images, a video, or COCO annotations beside their
    images, `LabelledImages` (`jnrsfm.io.read_images`); of a folder of stereo pairs, `FramePairs`. Warns of coordinates
    that look wrong. Raises InputError, one line."""
    if isinstance(path, str | Path) and io.stereo.holds_pairs(path):
        return io.stereo.read_pairs(path)
    if isinstance(path, str | Path) and io.holds_images(path, format):
        return io.read_images(path, format, **options)
    reading = io.read(path, format, **options)
    for line in reading.remarks:
        warnings.warn(f"{path}: {line}", stacklevel=2)
    return reading.landmarks


def fit(
    landmarks: Any,
    method: Any = DEFAULT_METHOD,
    *,
    camera: str | None = None,
    restarts: int | None = None,
    seed: Any = 0,
    out: str | Path | None = None,
    resume: bool = False,
    reference: Reconstruction | None = None,
    config: Any = None,
    progress: bool = True,
    reweigh: bool = True,
    repair_swaps: bool = False,
    **overrides: Any,
) -> FitResult:
    """Reconstruct 3D shapes and cameras from 2D landmarks.

    `landmarks`: `Landmarks`, or what else the method takes (`MethodInfo.takes`); for methods of landmarks also an
    array `(frame, point, 2 or 3)` (x, y, confidence; NaN is missing), or a pandas or xarray object (`io.as_landmarks`).
    `method`: a method's name, or its settings, such as `jnrsfm.methods.Paul(bottleneck=8)`. Beside a name, `config` is
    the method's settings (its defaults where None); `restarts` and other keyword arguments override single ones.
    `camera`: "orthographic", "weak-perspective" or "perspective"; None takes the landmarks' own, else
    orthographic. With `out` a run folder is written: `config.yaml`, `metrics.jsonl`,
    `checkpoints/`, `landmarks.npz`, `model.npz`, `codes.npz` (methods with a latent space), `reconstruction.npz`,
    `quality.json`, `report.html`, `report.png`; `resume=True` goes on with an interrupted one, or at a lower
    `learning_rate` with one that diverged.
    `reference` is 3D to show and score in the report; nothing is fitted to it or chosen by it. `reweigh` lets wrong
    points weigh less (`inputs.doubted_points`), `repair_swaps` exchanges left and right back (`inputs.swaps`). A frame
    that shows too few points comes back interpolated in its clip, or NaN, and marked (`inputs.empty_frames`).

    Raises InputError, one line, for what the user can mend: unknown method or setting, landmarks that do not
    suffice for the camera, a folder that holds another run, training that diverges.
    """
    info, config = _method(method, config)
    if info.takes is Landmarks and not isinstance(landmarks, Landmarks):
        landmarks = io.as_landmarks(landmarks)
    taken = isinstance(landmarks, info.takes)
    if not taken:
        raise InputError(
            f"method {info.name} takes {info.takes.__name__}: this is a {type(landmarks).__name__}"
            + (" (jnrsfm.read makes landmarks of a file)" if info.takes is Landmarks else "")
        )
    if info.takes is DynamicScene:
        if camera not in (None, "perspective"):
            raise InputError(
                f"method {info.name} has no {camera} camera: its poses are those of perspective cameras"
            )
        config = _config(info, config, restarts, overrides)
        folder = None if out is None else Path(out).expanduser()
        return FitResult(
            **scene_fits.fit_scene(landmarks, info, config, _seed(seed), folder, resume, progress)
        )
    if info.takes is FramePairs:
        config = _config(info, config, restarts, overrides)
        folder = None if out is None else Path(out).expanduser()
        made = depth_fits.fit_pairs(landmarks, info, config, _seed(seed), folder, resume, progress)
        return FitResult(**made | {"model": TrainedModel(made["model"])})
    images = landmarks if isinstance(landmarks, LabelledImages) else None
    given, landmarks = landmarks, landmarks if images is None else images.landmarks
    camera = _camera(landmarks, "weak-perspective" if camera is None and images else camera, info)
    config = _config(info, config, restarts, overrides)
    seed = _seed(seed)
    if images is not None:
        io.check_images(images, "the images", labels=info.labels)
        used, shown = np.ones(landmarks.n_frames, bool), landmarks
    else:
        io.check_landmarks(landmarks)
        used = io.usable_frames(landmarks, camera)
        shown = landmarks if used.all() or not used.any() else landmarks.select(used)
        io.check_landmarks(shown, camera)
    if reference is not None and reference.points3d.shape[:2] != landmarks.points2d.shape[:2]:
        raise InputError(
            f"the reference has {reference.points3d.shape[:2]} frames and points, the landmarks "
            f"{landmarks.points2d.shape[:2]}: give the same frames and points"
        )
    folder = None if out is None else Path(out).expanduser()
    record = {"method": info.name, "camera": camera, "seed": seed, "config": to_plain(config)}
    if folder is not None:
        if jax.process_index() == 0:
            _open(folder, info, record, landmarks, reference, resume)
        hosts.agreed(True)  # nobody writes into a folder that is not open yet
    begun = time.monotonic()
    session = Session(folder, resume=resume, progress=progress)
    reliability, swaps = None, find_swaps(shown)
    if images is None:
        shown = exchanged(shown, swaps.frames) if repair_swaps else shown
        given, reliability = reweighed(shown) if reweigh else (shown, None)
    fitted = info.fit(given, camera, config, int(seed), session)
    result, quality = metrics.judge_fit(
        shown, fitted, reliability=reliability, exchanged=None if repair_swaps else swaps.frames,
        remarks=io.remarks(shown), said=describe_swaps(swaps, used, repair_swaps),
    )  # fmt: skip
    seconds = round(time.monotonic() - begun, 1)
    if not used.all() and isinstance(result, Reconstruction):
        result = put_back(result, landmarks, used)
        seen = np.flatnonzero(used)
        quality["verdict"]["frames"] = [int(seen[f]) for f in quality["verdict"]["frames"]]
    scores = metrics.score_fit(result, reference)
    contents = Contents(
        result,
        landmarks,
        reference,
        history=session.history,
        quality=quality,
        settings={**record, "seconds": seconds},
        scores=scores,
        latent=None if fitted.latent is None else _latent(fitted.latent._asdict(), shown),
        code=fitted.code,
    )
    pictures = photos = None
    if images is not None:
        pictures, photos = _photographs(images, result)
        contents = _of_photographs(contents, pictures, photos)
    model = None if fitted.model is None else TrainedModel(fitted.model, getattr(landmarks, "names", None))
    found = FitResult(
        result,
        model,
        quality,
        session.history,
        config,
        folder,
        fitted.diagnostics,
        fitted.code,
        scores,
        contents,
    )
    if folder is not None and session.first:
        if model is not None:
            model.save(folder / runs.MODEL_FILE)
        if pictures is not None and photos is not None:
            report.write_photos(folder / runs.PHOTOS_FILE, pictures, photos)
        if fitted.latent is not None:
            runs.write_arrays(folder / runs.LATENT_FILE, fitted.latent._asdict())
        result.save(folder / _result_file(info))
        io.write_beside(folder, result)
        about = {
            "seconds": seconds,
            "code": found.code.value,
            "quality": quality,
            "diagnostics": found.diagnostics,
        }
        runs.write_json(folder / runs.QUALITY_FILE, about)
        _write_pages(folder, dataclasses.replace(contents, citations=citations.cite(found)))
    return found


def _photographs(images: LabelledImages, result: Any) -> tuple[np.ndarray, tuple[report.Photo, ...]]:
    """Numbers of the images that the page of points or meshes shows, and their photographs."""
    shown = report.shown_images(images.landmarks, result)
    return shown, report.photographs(images.select(shown), result.select(shown))


def _of_photographs(contents: Contents, shown: np.ndarray, photos: tuple[report.Photo, ...]) -> Contents:
    """Contents of the images that are shown alone, in their order."""
    part: Any = lambda x: None if x is None else x.select(shown)
    return dataclasses.replace(
        contents, result=part(contents.result), input=part(contents.input), reference=part(contents.reference),
        photos=photos, title="3D from photographs",
    )  # fmt: skip


def load(run: str | Path) -> TrainedModel:
    """The trained model of a run folder, to `lift` unseen frames with.

    Raises InputError where the folder holds no finished run of a learned method.
    """
    if not isinstance(run, (str, os.PathLike)):
        raise InputError(f"{run!r:.60} is a {type(run).__name__}: give the folder of a run")
    run = Path(run).expanduser()
    info = _known(str(runs.read_record(run)["method"]))
    if info.load is None:
        raise InputError(f"{run}: {info.name} is a solver and has no model: fit the new frames instead")
    if not (run / runs.MODEL_FILE).is_file():
        raise InputError(f"{run}: holds no {runs.MODEL_FILE}: the run has not finished (jnrsfm fit --resume)")
    stored = run / runs.LANDMARKS_FILE
    names = io.read_landmarks(stored).names if stored.is_file() else None
    return TrainedModel(info.load(run / runs.MODEL_FILE), names)


def write_run_report(run: str | Path, reference: Reconstruction | None = None) -> Path:
    """Write `report.html` and, where matplotlib is installed, `report.png` of a finished run; returns the page.

    `reference` replaces the 3D that the run was given to compare with. Raises InputError for an unfinished
    run.
    """
    run = Path(run).expanduser()
    record = runs.read_record(run)
    info = _known(str(record["method"]))
    if info.takes is DynamicScene:
        return write_result_report(run, info, record, scene_fits.TITLE)
    if info.takes is FramePairs:
        return write_result_report(run, info, record, depth_fits.TITLE)
    about = runs.read_quality(run)
    for name in (runs.LANDMARKS_FILE, _result_file(info)):
        if not (run / name).is_file():
            raise InputError(f"{run}: holds no {name}: the run has not finished (jnrsfm fit --resume)")
    landmarks = io.read_landmarks(run / runs.LANDMARKS_FILE)
    result: Result = io.read_result(run / _result_file(info), info.gives)
    if reference is None:
        reference = io.read_reference(run / runs.LANDMARKS_FILE)
    latent = None
    if (run / runs.LATENT_FILE).is_file():
        with np.load(run / runs.LATENT_FILE, allow_pickle=False) as file:
            latent = _latent({name: file[name] for name in ("codes", "between")}, landmarks)
    contents = Contents(
        result,
        landmarks,
        reference,
        history=Session(run, resume=True).history,
        quality=about["quality"],
        settings={**record, "seconds": about["seconds"]},
        scores=metrics.score_fit(result, reference),
        latent=latent,
        code=about["code"],
    )
    if (run / runs.PHOTOS_FILE).is_file():
        contents = _of_photographs(contents, *report.read_photos(run / runs.PHOTOS_FILE))
    cited = citations.cite(info.name, contents.scores or ())
    return _write_pages(run, dataclasses.replace(contents, citations=cited))


def write_image_page(
    path: str | Path, images: LabelledImages, result: Any, reference: Reconstruction | None = None
) -> Path:
    """A page of lifted photographs: each with its points over it, and its 3D beside. Raises InputError."""
    landmarks = images.landmarks
    if (
        isinstance(result, Reconstruction) and landmarks.n_points != result.n_points
    ):  # photographs without labels
        visible = np.zeros((result.n_frames, result.n_points), bool)
        landmarks = Landmarks(
            np.zeros((*visible.shape, 2), np.float32), visible, sequence=landmarks.sequence,
            names=result.names, edges=result.edges, symmetric=result.symmetric,
        )  # fmt: skip
        images = dataclasses.replace(images, landmarks=landmarks)
    shown, photos = _photographs(images, result)
    contents = Contents(result, landmarks, reference, scores=metrics.score_fit(result, reference))
    return report.write_report(path, _of_photographs(contents, shown, photos))


def _known(name: str) -> MethodInfo:
    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]


def _method(method: Any, config: Any) -> tuple[MethodInfo, Any]:
    """The registry's entry of a name or of settings, and the settings where they were given."""
    if isinstance(method, str):
        return _known(method), config
    info = next((m for m in METHODS.values() if type(method) is m.config), None)
    if info is None:
        raise InputError(
            f"method is a {type(method).__name__}: give a name ({', '.join(METHODS)}) or a method's settings"
        )
    if config is not None:
        raise InputError("method holds settings and config does too: give one of them")
    return info, method


def _seed(seed: Any) -> int:
    if not isinstance(seed, int | np.integer) or not 0 <= seed < 2**31:
        raise InputError(f"seed is {seed}: it must be a whole number from 0 to {2**31 - 1}")
    return int(seed)


def _camera(landmarks: Landmarks, camera: str | None, info: MethodInfo) -> str:
    """The camera asked for, else the landmarks' own; a file that says perspective but has no intrinsics is
    seen by weak perspective, the nearest model that needs none."""
    if camera is None:
        camera = landmarks.camera or "orthographic"
        if landmarks.camera is None and landmarks.intrinsics is not None:
            warnings.warn(io.UNUSED_INTRINSICS, stacklevel=3)
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
        if not hasattr(config, "restarts"):
            raise InputError(f"method {info.name} has no restarts: name one that has (--method deep-nrsfm++)")
        overrides = {"restarts": restarts, **overrides}
    return from_plain(overrides, config, f"method {info.name}")


def _latent(latent: dict[str, Any], landmarks: Landmarks) -> dict[str, Any]:
    """What the panel of the latent space takes."""
    return {**latent, "sequence": landmarks.sequence, "edges": landmarks.edges}


def _result_file(info: MethodInfo) -> str:
    """The name of the result in a run folder."""
    return io.RESULTS[info.gives].name


def _write_pages(folder: Path, contents: Contents) -> Path:
    """The page and, where matplotlib is installed, the still picture."""
    page = report.write_report(folder / runs.REPORT_FILE, contents)
    try:
        report.write_still(folder / runs.STILL_FILE, contents)
    except InputError as error:  # matplotlib is an extra; the page does without
        warnings.warn(str(error), stacklevel=3)
    return page


def _open(
    folder: Path,
    info: MethodInfo,
    record: dict[str, Any],
    landmarks: Landmarks,
    reference: Reconstruction | None,
    resume: bool,
) -> None:
    """Create a run folder, or check that the one to resume is of the same settings and observations."""
    stored = folder / runs.LANDMARKS_FILE
    if not resume:
        runs.open_run(folder, record)
        io.write_landmarks(stored, landmarks, reference)
        return
    runs.read_record(folder)
    changed = runs.changed_observations(io.read_landmarks(stored), landmarks) if stored.is_file() else []
    runs.resume_run(folder, record, changed, finished=(folder / _result_file(info)).is_file())
