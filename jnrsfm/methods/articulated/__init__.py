r"""An articulated figure in clips of one camera: bones keep their lengths, depth moves as smoothly as the image does,
poses are few, and the camera, of unknown focal length, sees near parts larger (`shape_prior.articulated` has the
energy).

Solvers that know shapes only as a distribution (`pnd`, `consensus`) are the starts: on a clip that shows each pose from
few sides, many depths are equally likely to them, and bones that stretch and shrink give the wrong ones away. From each
start the energy is descended, and each clip is looked at anew by what the others show (`leave_one_out`). The clips may
then take their depths from different starts, or the reflected ones, and single bones and limbs change the side to which
they point, whatever lowers the energy. The end of least energy is kept; nothing but the tracks decides.

Noisy tracks are smoothed for the starts, and nothing is looked at anew or searched: noise hides poses and sides, and a
search would fit it.

Bones are the `edges` of the landmarks; where there are none, a tree of the pairs of points whose distance varies least
in the first start (`geometry.guess_links`).

Source: ours; constant bone lengths under scaled orthography: Taylor, CVPR 2000; Wei and Chai, ICCV 2009.
"""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.factorization.measurements import CAMERAS, Measurements, measure, reconstruction
from jnrsfm.factorization.upgrade import resolve_camera_signs
from jnrsfm.geometry import align_jointly, bone_tree, guess_links
from jnrsfm.inputs.jittery import NOISY, in_order, noise_of, smoothed
from jnrsfm.methods import consensus, pnd
from jnrsfm.methods.articulated.descent import descend, local
from jnrsfm.methods.articulated.leave_one_out import from_others
from jnrsfm.methods.articulated.proposals import flips
from jnrsfm.methods.articulated.settings import Articulated as Articulated
from jnrsfm.methods.articulated.tracks import sigmas_of, tracks_of
from jnrsfm.methods.base import Fitted, MethodInfo
from jnrsfm.shape_prior import articulated as prior
from jnrsfm.shape_prior.articulated import Figure, Prior, Sigmas, Tracks
from jnrsfm.training import Session
from jnrsfm.types import Landmarks, ResultCode

_BLOCK = 32  # proposals looked at together
_WINDOW = 120  # frames in which proposals are tried together
_CLOSE = 2.0  # nats a frame by which an end may be worse and still count as another opinion
_WORTH = 0.1  # nats a frame for which another look at the other windows is worth its time
_STEP = 10  # rounds of descent in one dispatch
_IMPOSED = "Bones keep their lengths because the method makes them: that they are steady is no evidence here."


@dataclasses.dataclass
class _State:
    """A figure under descent."""

    name: str
    figure: Figure
    mean: Any
    rotations: Any = None
    energy: float = np.inf
    code: ResultCode = ResultCode.CONVERGED
    worth: bool = True  # another look at the other windows may lower the energy


class Start(NamedTuple):
    """A solver's result: whose it is, its camera, `points (frame, point, 3)` in the camera frame, and its noise."""

    method: str
    camera: str
    points: np.ndarray
    noise: float

    @classmethod
    def of(cls, method: str, camera: str, fitted: Fitted) -> "Start":
        """Of a fit."""
        points = np.asarray(fitted.reconstruction.camera_points, np.float64)
        return cls(method, camera, points, float(fitted.diagnostics.get("noise", 0.01)))


def fit(landmarks: Landmarks, camera: str, config: Articulated, seed: int, session: Session) -> Fitted:
    """Starts and `refine`. Raises InputError where no start can take the landmarks."""
    known = in_order(landmarks)
    return refine(known, camera, _starts(smoothed(known)[0], camera, seed, session), config, session)


def refine(
    landmarks: Landmarks, camera: str, starts: Sequence[Start], config: Articulated, session: Session
) -> Fitted:
    """Descents from the starts, exchange, flips; clips must be in order. Hidden points follow from all else."""
    data = measure(landmarks, camera, 3)
    known = noise_of(landmarks)
    bones = np.asarray(landmarks.edges if landmarks.edges is not None else [], int).reshape(-1, 2)
    if not len(bones):
        bones = guess_links(starts[0].points, np.ones(starts[0].points.shape[:2], bool)).astype(int)
    tracks = tracks_of(landmarks, data, bones)
    sigmas = sigmas_of(tracks, known, config, camera, starts[0].noise)
    states = [_descended(s, tracks, sigmas, config, camera, session) for s in starts]
    windows = _windows(landmarks, len(tracks.points))
    clean = not known.noise > NOISY  # noise hides poses and sides, and a search would fit the noise
    for _ in range(config.looks if clean and windows else 0):
        states = [_from_others(s, windows, tracks, sigmas, config, session) for s in states]
    best = min(states, key=lambda s: s.energy)
    if clean:
        best = _searched(best, states, windows, tracks, sigmas, config, session)
    return _fitted(best, states, landmarks, camera, data, bones)


def _starts(landmarks: Landmarks, camera: str, seed: int, session: Session) -> list[Start]:
    """Of the solvers that can take the landmarks."""
    cameras = [camera] if camera == "orthographic" else ["orthographic", "weak-perspective"]
    found, refused = [], []
    for info in (pnd.INFO, consensus.INFO):
        for model in cameras:
            try:
                one = Start.of(info.name, model, info.fit(landmarks, model, info.config(), seed, session))
            except InputError as error:
                refused.append(str(error))
                continue
            if np.isfinite(one.points).all():
                found.append(one)
    if not found:
        raise InputError(f"articulated: nothing to start from: {'; '.join(refused)}")
    return found


def _descended(
    start: Start, tracks: Tracks, sigmas: Sigmas, config: Articulated, camera: str, session: Session
) -> _State:  # fmt: skip
    """The energy descended from a start."""
    x = start.points - start.points.mean(1, keepdims=True)
    xy, seen = np.asarray(tracks.points), np.asarray(tracks.weights) > 0
    own = np.sqrt((seen[..., None] * x[..., :2] ** 2).sum((1, 2)))
    scale = np.maximum(own, 1e-9) / np.maximum(np.sqrt((seen[..., None] * xy**2).sum((1, 2))), 1e-9)
    if camera == "orthographic":
        scale = np.full(len(x), np.exp(np.log(scale).mean()))
    x = x / scale[:, None, None]
    x[..., :2] = np.where(seen[..., None], xy, x[..., :2])
    # a start of one scale for all frames knows how the object's distance changes; one of a scale each says 1
    step = np.log(scale) - np.log(scale).mean() if start.camera == "orthographic" else np.zeros(len(x))
    step = step if camera == "weak-perspective" else np.zeros(len(x))
    count = int(np.max(np.asarray(tracks.length_of), initial=-1)) + 1
    figure = Figure(*(jnp.asarray(a, jnp.float32) for a in (x, step, np.zeros(count), np.zeros(len(x)))))
    lengths = np.log(np.median(np.asarray(prior.bone_lengths(prior.scaled(figure), tracks.bones)), 0))
    of = np.asarray(tracks.length_of)
    shared = np.bincount(of, lengths, count) / np.maximum(np.bincount(of, minlength=count), 1)
    figure = figure._replace(log_length=jnp.asarray(shared, jnp.float32))
    mean = align_jointly(prior.scaled(figure))[0].mean(0)
    return _descend(
        _State(f"{start.method}, {start.camera}", figure, mean), tracks, sigmas, config.rounds, session
    )


def _descend(state: _State, tracks: Tracks, sigmas: Sigmas, rounds: int, session: Session) -> _State:
    """Rounds of descent, a few in a dispatch; where a state is not finite, the one before it is the end."""
    rotations = prior.aligned(prior.scaled(state.figure), state.mean)
    state = _State(state.name, state.figure, state.mean, rotations, code=ResultCode.NOT_CONVERGED)
    for done in range(0, rounds, _STEP):
        count = min(_STEP, rounds - done)
        ends = jnp.asarray([done / rounds, (done + count) / rounds], jnp.float32)
        figure, rotations, mean, value = descend(state.figure, state.mean, tracks, sigmas, ends, rounds=count)
        if not np.isfinite(float(value)):
            return dataclasses.replace(state, code=ResultCode.NOT_CONVERGED)
        state = _State(state.name, figure, mean, rotations, float(value))
        session.say(f"articulated: {state.name}: round {done + count} of {rounds}: energy {state.energy:.2f}")
    return state


def _from_others(
    state: _State, windows: list[np.ndarray], tracks: Tracks, sigmas: Sigmas, config: Articulated, session: Session
) -> _State:  # fmt: skip
    """Each window takes the depths that the others make likely, and all is descended again, if the energy falls."""
    if state.rotations is None or not state.worth:
        return state
    figure = from_others(state.figure, np.asarray(state.rotations, np.float64), tracks, sigmas, windows)
    rounds = max(1, config.rounds // 2)  # most of the figure is where it was
    trial = _descend(dataclasses.replace(state, figure=figure), tracks, sigmas, rounds, session)
    fallen = state.energy - trial.energy
    return dataclasses.replace(trial if fallen > 0 else state, worth=fallen > _WORTH)


def _windows(landmarks: Landmarks, n: int) -> list[np.ndarray]:
    """Frames of each clip, long clips in parts; without an order, all frames in parts."""
    sequence = np.zeros(n, int) if landmarks.sequence is None else np.asarray(landmarks.sequence)
    out = []
    for clip in np.unique(sequence):
        own = np.flatnonzero(sequence == clip)
        out += np.array_split(own, -(-len(own) // _WINDOW))
    return [w for w in out if len(w) >= 5]


def _searched(
    best: _State, states: list[_State], windows: list[np.ndarray], tracks: Tracks, sigmas: Sigmas,
    config: Articulated, session: Session,
) -> _State:  # fmt: skip
    """Windows take depths of other starts, or have bones exchange their sides, wherever the energy falls."""
    tree = bone_tree(np.asarray(tracks.bones), tracks.points.shape[1])
    for sweep in range(config.sweeps):
        known = prior.prior_of(best.figure, best.rotations, sigmas)
        x, log_scale = np.array(best.figure.x), np.array(best.figure.log_scale)
        changed = 0
        for frames in windows:
            own = x[frames]
            others = [np.asarray(s.figure.x)[frames] for s in states] if sweep == 0 else []
            proposals = [o * [1, 1, sign] for o in others for sign in (1, -1)] + flips(own, *tree)
            scales = (
                [np.asarray(s.figure.log_scale)[frames] for s in states for _ in (1, -1)] if others else []
            )
            scales += [log_scale[frames]] * (len(proposals) - len(scales))
            better = _improved(own, log_scale[frames], proposals, scales, frames, best, tracks, known, sigmas)
            if better is not None:
                x[frames], log_scale[frames] = better
                changed += 1
        if not changed:
            break
        figure = best.figure._replace(x=jnp.asarray(x), log_scale=jnp.asarray(log_scale))
        trial = _descend(
            _State(f"sweep {sweep + 1}", figure, best.mean), tracks, sigmas, config.rounds, session
        )
        session.say(f"articulated: sweep {sweep + 1}: {changed} of {len(windows)} windows changed")
        if not trial.energy < best.energy:
            break
        best = trial
    return best


def _improved(
    own, log_scale, proposals, scales, frames, best: _State, tracks: Tracks, known: Prior, sigmas: Sigmas
):
    """`(x, log_scale)` of the window after the best of the proposals, and of the sums of the best ones, or None where
    none is better than what is there, descended as long."""
    n = len(frames)
    fill = lambda a: np.concatenate([a, np.repeat(a[-1:], _WINDOW - n, 0)]).astype(np.float32)
    part = Tracks(
        jnp.asarray(fill(np.asarray(tracks.points)[frames])), jnp.asarray(fill(np.asarray(tracks.weights)[frames])),
        jnp.asarray(np.concatenate([np.asarray(tracks.follows)[frames[:-1]], np.zeros(_WINDOW - n)]), jnp.float32),
        tracks.bones, tracks.length_of, jnp.asarray(fill(np.asarray(tracks.size)[frames])),
    )  # fmt: skip
    there = jnp.asarray(np.arange(_WINDOW) < n, jnp.float32)
    near = jnp.asarray(fill(np.asarray(best.figure.near)[frames]))

    def costs(xs, logs):
        ends = []
        for first in range(0, len(xs), _BLOCK):
            block = [fill(a) for a in xs[first : first + _BLOCK]]
            steps = [fill(a) for a in logs[first : first + _BLOCK]]
            spare = _BLOCK - len(block)
            found = local(
                jnp.asarray(np.stack(block + block[:1] * spare)), jnp.asarray(np.stack(steps + steps[:1] * spare)),
                best.figure.log_length, near, part, there, known, sigmas,
            )  # fmt: skip
            ends.append([np.asarray(a)[: len(block)] for a in found])
        return [np.concatenate(a) for a in zip(*ends, strict=True)]

    xs, logs = [own, *proposals], [log_scale, *scales]
    found = costs(xs, logs)
    order = np.argsort(found[2])
    good = [int(i) for i in order if i and found[2][i] < found[2][0] - 0.5][: _BLOCK // 2]
    if not good:
        return None
    chosen = tuple(a[good[0]] for a in found)
    # what helps alone may help together
    total = [own + sum(xs[i] - own for i in good[: k + 1]) for k in range(1, len(good))]
    pairs = [xs[good[0]] + xs[i] - own for i in good[2:]]
    if total:
        sums = costs(total + pairs, [logs[good[0]]] * len(total + pairs))
        least = int(np.argmin(sums[2]))
        if sums[2][least] < chosen[2]:
            chosen = tuple(a[least] for a in sums)
    return chosen[0][:n], chosen[1][:n]


def _shapes(state: _State) -> np.ndarray:
    """`(frame, point, 3)` X of a state, centred, in the camera frame."""
    return np.asarray(prior.scaled(prior.centred(state.figure)), np.float64)


def length_variation(x: np.ndarray, bones: np.ndarray) -> float:
    """Deviation over mean of the lengths of bones of `x (frame, point, 3)` over the frames, median of the bones."""
    length = np.asarray(prior.bone_lengths(jnp.asarray(x), jnp.asarray(bones)))
    return float(np.median(length.std(0) / length.mean(0)))


def _reflected(state: _State) -> _State:
    """The depth reflection in which what is near looks large: the same energy, and the other sign of k."""
    if float(jnp.mean(state.figure.near)) >= 0:
        return state
    m = jnp.array([1.0, 1.0, -1.0])
    figure = state.figure._replace(x=state.figure.x * m, near=-state.figure.near)
    return dataclasses.replace(
        state, figure=figure, mean=state.mean * m, rotations=m[:, None] * state.rotations * m
    )


def _rivals(best: _State, states: list[_State]) -> list[_State]:
    """The ends of other starts that are nearly as likely as the best, one at least: the rest are known to be worse."""
    others = sorted((s for s in states if s is not best), key=lambda s: s.energy)
    return [s for s in others if s.energy < best.energy + _CLOSE] or others[:1]


def _fitted(
    best: _State,
    states: list[_State],
    landmarks: Landmarks,
    camera: str,
    data: Measurements,
    bones: np.ndarray,
) -> Fitted:
    """The record. Shapes in their own frame are X rotated onto the mean: X R, so R is the camera. The ends of the other
    starts are the agreement check: depths that hang on where the search began are not sure."""
    first, best = best, _reflected(best)
    rotations = np.asarray(best.rotations, np.float64)
    shapes = np.einsum("fpi,fij->fpj", _shapes(best), rotations)
    size = np.exp(np.asarray(prior.centred(best.figure).log_scale, np.float64))
    shift = data.size[:, None] * np.asarray(best.figure.x, np.float64)[..., :2].mean(1)
    found = dataclasses.replace(data, size=data.size / size, centre=data.centre + shift)
    _, margin = resolve_camera_signs(rotations[:, :2], data.points, data.sequence)
    record = reconstruction(landmarks, camera, found, shapes, rotations, margin)
    diagnostics = {
        "energy": round(best.energy, 3), "starts": {s.name: round(s.energy, 3) for s in states},
        "bones": "given" if landmarks.edges is not None else "found",
        "size_over_distance": round(float(np.mean(np.asarray(best.figure.near))), 4),
        "bone_variation": round(length_variation(_shapes(best), bones), 4),
    }  # fmt: skip
    unit = float(np.exp(np.log(found.size).mean()))
    scale = 1.0 if camera == "orthographic" else found.size / unit  # as in `camera_points` of the record
    ends = [
        unit * np.broadcast_to(scale, len(shapes))[:, None, None] * _shapes(s)
        for s in (best, *_rivals(first, states))
    ]
    restarts = np.stack(ends) if len(ends) > 1 else None
    return Fitted(
        record, diagnostics=diagnostics, restarts=restarts, code=best.code, said=(_IMPOSED,), keeps_lengths=True
    )  # fmt: skip


INFO = MethodInfo(
    name="articulated",
    kind="solver",
    summary="articulated figures in clips: constant bone lengths, smooth depth and few poses, from pnd and consensus",
    cameras=CAMERAS,
    missing=True,
    needs_order=False,
    unseen=False,
    source="ours; Taylor, CVPR 2000 (bones of constant length under scaled orthography)",
    cites=("taylor2000articulated", "lee2013pnd", "lee2016consensus"),
    config=Articulated,
    fit=fit,
    state="experimental",
)
