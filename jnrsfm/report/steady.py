"""Views of a shape sequence that a person can watch: steadied over time, and upright."""

import re

import numpy as np
from jaxtyping import Bool, Float, Int

_FOOT = re.compile(r"foot|feet|toe|ankle|heel|paw|hoof|wheel")
_HEAD = re.compile(r"head|nose|eye|ear|neck|face|roof")


def steady_rotations(
    shape: Float[np.ndarray, "frame point 3"],
    drawn: Bool[np.ndarray, "frame point"],
    group: Int[np.ndarray, " frame"] | None = None,
    sweeps: int = 5,
) -> tuple[Float[np.ndarray, "frame 3 3"], Float[np.ndarray, "point 3"]]:
    """Rotations A_f that bring each centred shape onto one mean shape, and that mean shape.

    Generalised Procrustes without scale: min sum_f ||A_f x_f - T||^2 over proper A_f and T, by turns
    (Gower, Psychometrika 40, 1975). It removes the turning of camera and object alike, so that only the
    deformation is left to see. `group` (such as the category) gets a mean shape each; the one of the
    first group is returned. Points that are not drawn have no part.
    """
    x = np.where(drawn[..., None], shape, 0.0).astype(np.float64)
    rotations = np.broadcast_to(np.eye(3), (len(x), 3, 3)).copy()
    groups = np.zeros(len(x), int) if group is None else np.asarray(group)
    first = np.zeros(x.shape[1:])
    for number, g in enumerate(np.unique(groups)):
        at = np.flatnonzero(groups == g)
        xs, w = x[at], drawn[at].astype(np.float64)
        support = np.maximum(w.sum(0), 1.0)[:, None]
        mean = xs[np.argmax(w.sum(1))]
        a = np.broadcast_to(np.eye(3), (len(at), 3, 3))
        for _ in range(sweeps):
            u, _, vt = np.linalg.svd(np.einsum("pi,fpj->fij", mean, xs))
            sign = np.linalg.det(u @ vt)
            u[..., 2] *= sign[:, None]
            a = u @ vt
            mean = np.einsum("fij,fpj->pi", a, xs) / support
        rotations[at] = a
        if number == 0:
            first = mean
    return rotations, first


def _unit(v: np.ndarray) -> np.ndarray | None:
    norm = float(np.linalg.norm(v))
    return v / norm if norm > 1e-9 else None


def _across(axis: np.ndarray, towards: np.ndarray | None, mean: np.ndarray) -> np.ndarray:
    """A unit vector orthogonal to `axis`: along `towards` if that says anything, else the widest way."""
    rest = np.eye(3) - np.outer(axis, axis)
    found = None if towards is None else _unit(rest @ towards)
    if found is None:
        _, vectors = np.linalg.eigh(rest @ (mean.T @ mean) @ rest)
        found = _unit(rest @ vectors[:, -1])
    if found is None:
        found = _unit(rest @ np.eye(3)[int(np.argmin(np.abs(axis)))])
    assert found is not None
    return found


def upright(
    mean: Float[np.ndarray, "point 3"],
    rotations: Float[np.ndarray, "frame 3 3"],
    names: tuple[str, ...] | None = None,
    symmetric: Int[np.ndarray, "pair 2"] | None = None,
) -> tuple[Float[np.ndarray, "3 3"], str]:
    """A rotation that stands the steadied shape up (rows: right, down, away), and where "up" was taken from.

    Nothing in one camera's landmarks tells which way is up, so these are tried in turn: the mean up of
    the images, where the cameras agree on one; body names (the rest of the body is above feet, paws or
    wheels); the longest axis, with the head end up if names tell it. The subject faces the viewer where
    left-right pairs are known; else the view is the cameras' mean one, or shows the widest side.
    """
    lower = [n.lower() for n in names] if names else []
    feet = np.array([bool(_FOOT.search(n)) for n in lower], bool)
    head = np.array([bool(_HEAD.search(n)) for n in lower], bool) & ~feet
    lateral = None
    if symmetric is not None and len(symmetric):
        lateral = _unit((mean[symmetric[:, 0]] - mean[symmetric[:, 1]]).mean(0))
    image_up = -rotations[:, :, 1].mean(0)
    away = rotations[:, :, 2].mean(0)
    if np.linalg.norm(image_up) > 0.4:
        up, source = _unit(image_up), "the images"
    elif feet.any() and not feet.all():
        up, source = _unit(mean[~feet].mean(0) - mean[feet].mean(0)), "the point names"
    else:
        flat = mean if lateral is None else mean - np.outer(mean @ lateral, lateral)
        up, source = np.linalg.eigh(flat.T @ flat)[1][:, -1], "the longest axis (a guess)"
        if head.any() and up @ mean[head].mean(0) < 0:
            up = -up
    if up is None:
        up, source = np.array([0.0, -1.0, 0.0]), "the first frame"
    if lateral is not None and abs(lateral @ up) < 0.9:
        right = _across(up, lateral, mean)
    elif np.linalg.norm(away) > 0.4:
        right = _across(up, np.cross(-up, away), mean)
    else:
        right = _across(up, None, mean)
    return np.stack([right, -up, np.cross(right, -up)]), source
