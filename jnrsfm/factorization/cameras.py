"""Cameras of a factorisation: the motion factor, and its metric upgrade to rotations."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnrsfm.factorization.measurements import Measurements
from jnrsfm.factorization.upgrade import Scale, metric_upgrade, resolve_camera_signs
from jnrsfm.geometry.polar import polar_factor
from jnrsfm.geometry.rotations import project_to_so3

_NOISE_FLOOR = 1e-5  # components below this share of the first are rounding of float32 input


def motion_factor(
    points: Float[np.ndarray, "frame 2 point"], basis: int
) -> Float[np.ndarray, "frame 2 basis"]:
    """U sqrt(Sigma) of the leading `basis` components, without those that are rounding; at least three."""
    n = points.shape[0]
    u, s, _ = np.linalg.svd(points.reshape(2 * n, -1), full_matrices=False)
    basis = max(3, min(basis, int((s > _NOISE_FLOOR * s[0]).sum())))
    return (u[:, :basis] * np.sqrt(s[:basis])).reshape(n, 2, basis)


def recover_cameras(
    data: Measurements, basis: int, scale: Scale
) -> tuple[Float[np.ndarray, "frame 3 3"], Float[np.ndarray, " frame"], Float[np.ndarray, " frame"]]:
    """Rotations by the metric upgrade of the leading `basis` components, the scale |c_f| of each frame (1 on the
    mean of squares), and how firmly its sign is tied to the others."""
    with jax.enable_x64(True):
        upgrade = metric_upgrade(jnp.asarray(motion_factor(data.points, basis)), scale)
        cameras = np.asarray(upgrade.cameras)
    rows = polar_factor(cameras)
    flip, margin = resolve_camera_signs(rows, data.points, data.sequence)
    rows = rows * np.where(flip, -1.0, 1.0)[:, None, None]
    rotations = np.concatenate([rows, np.cross(rows[:, 0], rows[:, 1])[:, None]], 1)
    return rotations, np.sqrt((cameras**2).sum((1, 2)) / 2), margin


@jax.jit
def aligned_rotations(
    shapes: Float[Array, "frame 3 point"], start: Float[Array, "frame 3 3"] | None = None
) -> Float[Array, "frame 3 3"]:
    """Rotations R_f that align centred camera-frame shapes to one mean, R_f^T S_f ~ mean: generalised Procrustes
    analysis by alternation, from `start`, else from the alignment to the first shape."""
    if start is None:
        start = project_to_so3(jnp.einsum("fip,jp->fij", shapes, shapes[0]))

    def body(_, rotations):
        mean = jnp.einsum("fij,fip->jp", rotations, shapes) / len(shapes)
        return project_to_so3(jnp.einsum("fip,jp->fij", shapes, mean))

    return jax.lax.fori_loop(0, 30, body, start)
