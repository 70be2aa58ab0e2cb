r"""Choose a method by the points that it predicts: a share of the observed points is hidden, each candidate is fitted
to the others, and the one that puts the hidden ones best in the image is fitted again to all.

Tracks that jitter from frame to frame are smoothed before (`inputs.jittery`), since every candidate takes noise for
shape; what is hidden is hidden before.

Candidates go by what the data are: a body of one shape (`rigid`), a distribution of shapes (`pnd`), parts that agree
(`consensus`), and, where frames are very many or the camera is a pinhole with known intrinsics, the network of Deep
NRSfM++. Unless the file says that the camera is orthographic, weak perspective is tried as well. Within `better` of the
least error the simpler one is taken: a freer model that predicts no better has more depths to choose from, and nothing
checks those. The others that predict nearly as well are the agreement check: how far they put the points elsewhere is
the uncertainty of the result.

Points that are hidden say little about depth: a distribution of shapes predicts them as well from wrong depths, and
bones then stretch and shrink. So where bones are given, the frames follow each other without jitter, and the bones of
the chosen result vary in length by more than those of good ones do, the same data are fitted with bones of constant
length (`articulated`). That fit is taken where its descents from different starts end alike:
else it is no better known, and objects that are soft have no such bones.

Source: selection by held-out data is folklore (Stone, JRSS B 36(2), 1974); the candidates are published methods.
"""

import dataclasses
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.geometry import disagreement, thickness
from jnrsfm.inputs.jittery import noise_of, smoothed
from jnrsfm.inputs.observations import hold_out
from jnrsfm.methods import articulated, consensus, deep_nrsfm_pp, pnd, rigid
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.training import Session
from jnrsfm.types import CAMERA_MODELS, Landmarks, Reconstruction

_MANY_FRAMES = 6000
_NEARLY = 1.5  # times the least held-out error: a candidate that has a say in the agreement check
_LEAST_SEEN = 4  # points that stay in a frame
_STRETCHED = 0.08  # bones of good fits vary less in length
_THIN = 0.1  # third extent of a shape over its second: a flat thing has no bones that point anywhere
_DISAGREE = 0.15  # of the object's size: descents that end so far from each other say nothing


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
    final = final._replace(
        heldout=item,
        diagnostics=diagnostics,
        restarts=np.stack(shapes) if len(shapes) > 1 else final.restarts,
    )
    if noise or time.monotonic() - begun > 30 * config.minutes:
        return final
    return _with_bones(landmarks, camera, final, seed, session) or final


def _with_bones(
    landmarks: Landmarks,
    camera: str,
    final: Fitted,
    seed: int,
    session: Session,
) -> Fitted | None:
    """The fit with bones of constant length, where the module docstring asks for it."""
    order = noise_of(landmarks).noise
    if landmarks.edges is None or not len(np.asarray(landmarks.edges)) or not np.isfinite(order):
        return None
    bones = np.asarray(landmarks.edges, int)
    stretch = articulated.length_variation(np.asarray(final.reconstruction.points3d, np.float64), bones)
    shapes = np.asarray(final.reconstruction.camera_points, np.float64)
    if not stretch > _STRETCHED or thickness(shapes) < _THIN:
        return None
    session.say(f"auto: bones vary by {100 * stretch:.0f} % in length: fitted with constant ones")
    model = "orthographic" if _orthographic(landmarks, camera) else "weak-perspective"
    # starts anew: those of the trials do not know the hidden points, and end elsewhere
    try:
        found = articulated.fit(landmarks, model, articulated.Articulated(), seed, session)
    except InputError as error:
        session.say(f"auto: {error}")
        return None
    apart = 1.0
    if found.restarts is not None:
        x = np.asarray(found.restarts[0], np.float64)
        size = np.sqrt(((x - x.mean(1, keepdims=True)) ** 2).sum(-1).mean())
        apart = float(np.median(disagreement(found.restarts)) / size)
    about = {"bones_before": round(stretch, 4), "ends_apart": round(apart, 4)}
    if not apart < _DISAGREE:
        session.say(f"auto: the ends differ by {100 * apart:.0f} % of the size: not taken")
        final.diagnostics.update({f"articulated_{k}": v for k, v in about.items()})
        return None
    found.diagnostics.update(about)
    item = final.heldout and final.heldout | {"note": f"{final.heldout['note']}, before articulated"}
    return found._replace(
        heldout=item,
        diagnostics=final.diagnostics | found.diagnostics | {"method": "articulated", "camera": model},
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
    cameras = ["orthographic"] if _orthographic(landmarks, camera) else ["orthographic", "weak-perspective"]
    for info in (rigid.INFO, pnd.INFO, consensus.INFO):
        for model in cameras if info is not consensus.INFO else cameras[:1]:
            yield info.name, model, lambda x, i=info, m=model: i.fit(x, m, i.config(), seed, session)


def _orthographic(landmarks: Landmarks, camera: str) -> bool:
    """Whether it is known that all frames have one scale: the file says so, and nobody asked for another camera."""
    return camera == "orthographic" and landmarks.camera == "orthographic"


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
    summary="chooses among rigid, pnd, consensus, articulated (and deep-nrsfm++) by hidden points and steady bones",
    cameras=CAMERA_MODELS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="selection by held-out points",
    cites=(
        "lee2013pnd",
        "tomasi1992factorization",
        "lee2016consensus",
        "wang2020deepnrsfmpp",
        "taylor2000articulated",
    ),
    config=Auto,
    fit=fit,
    state="experimental",
)
