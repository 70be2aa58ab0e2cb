r"""The Procrustean normal distribution: shapes aligned by rotations (and scales) are samples of one normal
distribution, whose mean, covariance, latent depths and cameras are found together by expectation maximisation.

Cameras start from a metric upgrade at low rank from many starts; the distribution starts wide and narrows down to
what the data leave unexplained (`procrustean_em`). No rank is given: the covariance is full up to `modes` directions,
and its entropy is what keeps it small. Gaps and scales of the frames are part of the model. How fast it narrows
decides in which optimum it ends, so several rates are tried and the end of highest marginal likelihood is kept.

Two alignments. "tangent", as published: the covariance lies in the tangent space of the Procrustes-aligned shapes.
"likelihood": of all rotations that show the same image, those under which the shapes are most concentrated. The second
is better where a large part swings (the tail of the shark sequence): a deformation that is linear in the object's own
frame is not in the Procrustes frame. Its model contains the first, so its likelihood is the higher one.

Source: Lee, Cho, Choi, Oh: Procrustean normal distribution for non-rigid structure from motion, CVPR 2013; TPAMI
39(7), 2017.
"""

import dataclasses
import time
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.factorization.camera_search import search_cameras
from jnrsfm.factorization.measurements import CAMERAS, Measurements, measure, reconstruction
from jnrsfm.factorization.upgrade import resolve_camera_signs
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.shape_prior import procrustean_em as em
from jnrsfm.training import Session
from jnrsfm.types import Landmarks, ResultCode

_CHUNK = 20
_COOLINGS = (0.93, 0.97)
_SEVERAL = 600  # frames: beyond, one cooling takes long enough
LEAST_FRAMES = 6
LEAST_POINTS = 5
_HEARD = 0.8  # seconds that a dispatch may take
_STILL = 0.9  # of the noise after a chunk over that before it: the data are explained


@dataclasses.dataclass(frozen=True)
class Pnd:
    """Settings of the Procrustean normal distribution."""

    modes: int = 40
    """Directions in which the covariance is free; no rank to be tuned, but a bound on the work."""
    steps: int = 600
    """Most EM steps at each cooling."""
    cooling: tuple[float, ...] | None = None
    """Factors by which the noise variance falls at most in a step, each tried; nearer 1 is slower and more careful.
    Unset: 0.93 and 0.97 up to 600 frames, 0.93 alone beyond."""
    floor: float = 1e-4
    """Least standard deviation of the noise, in units of the object's image size."""
    camera_rank: int = 3
    """Number of shape bases in the metric upgrade that cameras start from."""
    starts: int = 16
    """Starts of the metric upgrade."""
    alignment: Literal["likelihood", "tangent"] = "likelihood"
    """How shapes are aligned (module docstring)."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        for name in ("modes", "steps", "camera_rank", "starts"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} is {getattr(self, name)}: give at least 1")
        if self.alignment not in ("likelihood", "tangent"):
            raise InputError(f"alignment is {self.alignment!r}: choose from likelihood, tangent")
        if self.cooling is not None and not (self.cooling and all(0 < c < 1 for c in self.cooling)):
            raise InputError(f"cooling is {self.cooling}: give factors between 0 and 1")
        if not 0 < self.floor < 1:
            raise InputError(f"floor is {self.floor}: give a fraction of the object's size between 0 and 1")


def fit(landmarks: Landmarks, camera: str, config: Pnd, seed: int, session: Session) -> Fitted:
    """Cameras, distribution and shapes of all frames.

    Raises InputError where there are fewer than 6 frames or 5 points. On finite data the result is finite; where EM
    itself was not, its last finite state is given and the code says so.
    """
    if landmarks.n_frames < LEAST_FRAMES or landmarks.n_points < LEAST_POINTS:
        raise InputError(
            f"pnd: needs at least {LEAST_FRAMES} frames and {LEAST_POINTS} points and there are "
            f"{landmarks.n_frames} and {landmarks.n_points}: give more, or use rigid"
        )
    coolings = config.cooling or (_COOLINGS if landmarks.n_frames <= _SEVERAL else _COOLINGS[:1])
    data = measure(landmarks, camera, max(1, min(config.camera_rank, (landmarks.n_points - 1) // 3)))
    rows, cost = search_cameras(data.points, config.camera_rank, config.starts, seed)
    with jax.enable_x64(True):
        ends = [_solve(data, rows, camera, config, cooling, session) for cooling in coolings]
        likelihoods = [_likelihood(end.state) for end in ends]
        best = int(np.argmax(likelihoods))
        end = ends[best]
        state = end.state
        scaled, shift, shapes = (np.asarray(a) for a in (state.rows, state.shift, state.shapes))
        noise = float(state.noise)
        free = int((np.asarray(state.variances) > noise).sum())
    scale = np.linalg.norm(scaled, axis=(1, 2)) / np.sqrt(2.0)
    rows = scaled / scale[:, None, None]
    rotations = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    _, margin = resolve_camera_signs(rows, data.points, data.sequence)
    found = dataclasses.replace(data, size=data.size * scale, centre=data.centre + data.size[:, None] * shift)
    record = reconstruction(landmarks, camera, found, shapes.transpose(0, 2, 1), rotations, margin)
    diagnostics = {
        "cooling": coolings[best],
        "log_likelihood": {
            str(c): round(v, 4) for c, v in zip(coolings, likelihoods, strict=True) if np.isfinite(v)
        },
        "steps": end.steps, "noise": noise**0.5, "modes_above_noise": free, "camera_start_residual": cost,
    }  # fmt: skip
    return Fitted(record, diagnostics=diagnostics, code=end.code)


def _likelihood(state: em.State) -> float:
    """Mean log likelihood of a frame; minus infinity where anything is not finite."""
    value = float(state.likelihood.mean())
    return value if np.isfinite(value) and bool(jnp.isfinite(state.shapes).all()) else -np.inf


class _End(NamedTuple):
    """Where EM ended, the steps it took, and how it ended."""

    state: em.State
    steps: int
    code: ResultCode


def _solve(data: Measurements, rows, camera: str, config: Pnd, cooling: float, session: Session) -> _End:
    """EM at a cooling until the noise has reached what the data leave.

    A dispatch takes about a second, so that Ctrl-C is heard. Where a state is not finite the one before it is the end;
    where the very first is not, fewer modes are tried.
    """
    most = max(1, min(config.modes, 3 * data.n_points - 7, data.n_frames - 1))
    points, weights = jnp.asarray(data.observed), jnp.asarray(data.weights)
    settings: dict[str, Any] = {
        "cooling": cooling, "floor": config.floor**2, "gaps": not (data.weights == 1).all(),
        "free_scale": camera == "weak-perspective", "tangent": float(config.alignment == "tangent"),
    }  # fmt: skip
    at_once, code = 1, ResultCode.STEP_LIMIT
    for modes in sorted({most, max(1, most // 4), 1}, reverse=True):
        state = em.start(jnp.asarray(data.points), jnp.asarray(rows), modes, 1.0)
        done, good = 0, None
        while done < config.steps:
            before, goal = float(state.noise), done + _CHUNK
            while done < goal:
                begun, steps = time.monotonic(), min(at_once, goal - done)
                state = jax.block_until_ready(em.iterate(state, points, weights, steps=steps, **settings))
                done += steps
                if time.monotonic() - begun < _HEARD / 2:
                    at_once = min(2 * at_once, _CHUNK)
            noise = float(state.noise)
            if not np.isfinite(_likelihood(state)):
                code = ResultCode.NOT_CONVERGED
                break
            good = state
            session.say(
                f"pnd: cooling {cooling}: step {done}: noise {noise**0.5:.5f}, "
                f"log likelihood {float(state.likelihood.mean()):.3f}"
            )
            if noise > _STILL * before or noise <= config.floor**2:
                code = ResultCode.CONVERGED
                break
        if good is not None:
            return _End(good, done, code)
    raise InputError("pnd: no finite state, not even of one mode: look for coordinates of absurd size")


INFO = MethodInfo(
    name="pnd",
    kind="solver",
    summary="Procrustean normal distribution: aligned shapes are normally distributed; EM over depths and cameras",
    cameras=CAMERAS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="Lee, Cho, Choi, Oh: Procrustean normal distribution for non-rigid structure from motion, CVPR 2013",
    cites=("lee2013pnd",),
    config=Pnd,
    fit=fit,
)
