r"""Choose a method by the points that it predicts: a share of the observed points is hidden, each candidate is fitted
to the others, and the one that puts the hidden ones best in the image is fitted again to all.

Tracks that jitter from frame to frame are smoothed before (`inputs.jittery`), since every candidate takes noise for
shape; what is hidden is hidden before.

Candidates go by what the data are: a body of one shape (`rigid`), a distribution of shapes (`pnd`), parts that agree
(`consensus`), and, where frames are very many or the camera is a pinhole with known intrinsics, the network of Deep
NRSfM++. Where the file names no camera, orthographic and weak perspective are both tried. Within `better` of the least
error the simpler one is taken: a freer model that predicts no better has more depths to choose from, which nothing
checks. The others that predict nearly as well are the agreement check: how far they put the points elsewhere is the
uncertainty of the result.

Source: selection by held-out data is folklore (Stone, JRSS B 36(2), 1974); the candidates are published methods.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.inputs.jittery import smoothed
from jnrsfm.inputs.observations import hold_out
from jnrsfm.methods import consensus, deep_nrsfm_pp, pnd, rigid
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.training import Session
from jnrsfm.types import CAMERA_MODELS, Landmarks, Reconstruction

_MANY_FRAMES = 6000
_NEARLY = 1.5  # times the least held-out error: a candidate that has a say in the agreement check
_LEAST_SEEN = 4  # points that stay in a frame


@dataclasses.dataclass(frozen=True)
class Auto:
    """Settings of the choice."""

    minutes: float = 10.0
    """Time budget: no candidate is begun after half of it is gone."""
    holdout: float = 0.08
    """Share of the observed points by which candidates are compared."""
    better: float = 1.1
    """A freer candidate must predict hidden points this many times better than a simpler one."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        if not self.minutes > 0:
            raise InputError(f"minutes is {self.minutes}: give a time above 0")
        if not 0 < self.holdout < 0.5:
            raise InputError(f"holdout is {self.holdout}: give a share between 0 and 0.5")
        if not self.better >= 1:
            raise InputError(f"better is {self.better}: give 1 or more")


class _Trial(NamedTuple):
    """A candidate with its fit to the points that were not hidden, and its error at the hidden ones (pixels)."""

    name: str
    camera: str
    fit: Callable[[Landmarks], Fitted]
    fitted: Fitted
    error: float


def fit(landmarks: Landmarks, camera: str, config: Auto, seed: int, session: Session) -> Fitted:
    """The fit of the chosen method. Raises InputError where no candidate can take the data."""
    if camera == "perspective" or landmarks.n_frames > _MANY_FRAMES:
        session.say(
            "auto: deep-nrsfm++: " + ("a pinhole camera" if camera == "perspective" else "very many frames")
        )
        found = deep_nrsfm_pp.INFO.fit(landmarks, camera, deep_nrsfm_pp.INFO.config(), seed, session)
        return found._replace(diagnostics={"method": "deep-nrsfm++", "camera": camera, **found.diagnostics})
    kept, held = hold_out(np.asarray(landmarks.weights), config.holdout, _LEAST_SEEN, seed)
    known, _ = smoothed(landmarks.replace(visible=kept > 0))
    landmarks, noise = smoothed(landmarks)
    if noise:
        session.say(
            f"auto: the tracks jitter by {100 * noise:.1f} % of the object's size: smoothed for the fit"
        )
    begun, refused = time.monotonic(), {}
    trials: list[_Trial] = []
    for name, model, run in _candidates(landmarks, camera, seed, session):
        if trials and time.monotonic() - begun > 30 * config.minutes:
            refused[f"{name}, {model}"] = "no time left"
            continue
        try:
            fitted = run(known)
        except InputError as error:
            refused[f"{name}, {model}"] = str(error)
            continue
        missed = _error(fitted.reconstruction, landmarks, held)
        session.say(f"auto: {name}, {model}: {missed:.4g} at hidden points")
        trials.append(_Trial(name, model, run, fitted, missed))
    if not trials:
        raise InputError(f"auto: no method can take these landmarks: {'; '.join(refused.values())}")
    best = choose([t.error for t in trials], config.better)
    chosen = trials[best]
    session.say(f"auto: chosen: {chosen.name}, {chosen.camera}")
    final = chosen.fit(landmarks)
    limit = _NEARLY * min(t.error for t in trials)
    others = [t.fitted.reconstruction for t in trials if t is not chosen and t.error <= limit]
    shapes = [np.asarray(r.camera_points) for r in (final.reconstruction, *others)]
    unit = _size(landmarks)
    diagnostics = {
        "method": chosen.name, "camera": chosen.camera,
        "held_out": {f"{t.name}, {t.camera}": round(t.error / unit, 5) for t in trials},
        "refused": refused, "jitter": round(noise, 4), **final.diagnostics,
    }  # fmt: skip
    item = None
    if (held > 0).any():
        item = {
            "error": chosen.error / unit, "baseline": _baseline(landmarks, kept, held) / unit,
            "count": int((held > 0).sum()),
            "note": f"{config.holdout:.0%} of the observed points{', smoothed' if noise else ''}, by which "
            f"{chosen.name} was chosen",
        }  # fmt: skip
    return final._replace(
        heldout=item,
        diagnostics=diagnostics,
        restarts=np.stack(shapes) if len(shapes) > 1 else final.restarts,
    )


def choose(errors: list[float], better: float) -> int:
    """The first of the candidates, simplest first, that no later one beats by the factor `better`."""
    best = 0
    for i, error in enumerate(errors):
        if error * better < errors[best] or not np.isfinite(errors[best]):
            best = i
    return best


def _candidates(landmarks: Landmarks, camera: str, seed: int, session: Session):
    """`(name, camera, fit)`, simplest first."""
    cameras = [camera]
    if landmarks.camera is None and camera == "orthographic":
        cameras.append("weak-perspective")
    for info in (rigid.INFO, pnd.INFO, consensus.INFO):
        for model in cameras if info is not consensus.INFO else cameras[:1]:
            yield info.name, model, lambda x, i=info, m=model: i.fit(x, m, i.config(), seed, session)


def _error(found: Reconstruction, landmarks: Landmarks, held: np.ndarray) -> float:
    """Mean distance of the held-out points from where they were observed, weighted, in the image's units."""
    if not (held > 0).any():
        return 0.0
    there = np.where(held[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
    gap = np.linalg.norm(
        np.where(held[..., None] > 0, np.asarray(found.points2d, np.float64) - there, 0.0), axis=-1
    )
    return float(np.average(gap, weights=held))


def _baseline(landmarks: Landmarks, kept: np.ndarray, held: np.ndarray) -> float:
    """The same of a prediction without 3D: the mean of the frame's other points."""
    xy = np.where(
        np.asarray(landmarks.weights)[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0
    )
    middle = (kept[..., None] * xy).sum(1, keepdims=True) / np.maximum(kept.sum(1), 1e-9)[:, None, None]
    return float(np.average(np.linalg.norm(xy - middle, axis=-1), weights=held))


def _size(landmarks: Landmarks) -> float:
    """Root mean square distance of the observed points from the middle of their frame."""
    v = np.asarray(landmarks.weights, np.float64)
    xy = np.where(v[..., None] > 0, np.asarray(landmarks.points2d, np.float64), 0.0)
    middle = (v[..., None] * xy).sum(1, keepdims=True) / np.maximum(v.sum(1), 1e-9)[:, None, None]
    return float(np.sqrt((v * ((xy - middle) ** 2).sum(-1)).sum() / v.sum()))


INFO = MethodInfo(
    name="auto",
    kind="solver",
    summary="chooses among rigid, pnd, consensus (and deep-nrsfm++) by the points that each predicts",
    cameras=CAMERA_MODELS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="selection by held-out points",
    cites=("lee2013pnd", "tomasi1992factorization", "lee2016consensus", "wang2020deepnrsfmpp"),
    config=Auto,
    fit=fit,
    state="experimental",
)
