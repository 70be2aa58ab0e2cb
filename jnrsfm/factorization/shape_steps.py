r"""The shape of every frame from its image once the cameras are known: three closed or convex answers.

`X_f (3, point)` from `R_f X_f = W_f`, R_f the first two rows of the camera; what is unknown is the depth along the
third row, and all of a missing point. Pure functions; the caller jits and chooses the precision.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Bool, Float

from jnrsfm.linalg.proximal import HIGHEST, singular_value_threshold


def nuclear_norm_shape(
    rotations: Float[Array, "frame 3 3"],
    points: Float[Array, "frame 2 point"],
    weights: Float[Array, "frame point"],
    start: Float[Array, "frame 3 point"],
    tolerance: float | Array = 3e-4,
    steps: int = 500,
) -> tuple[Float[Array, "frame 3 point"], Float[Array, ""]]:
    r"""$\min \|X^\sharp\|_*$ s.t. $R_f X_f = W_f$ where seen, $X^\sharp$ the (frame, 3 point) rearrangement.

    A point of weight below 1 goes that share of the way to its image in every projection; one of weight 0 is free.

    It is the limit, for a vanishing weight of the norm, of the fixed-point continuation of Dai et al.; solved
    directly by ADMM: the projection onto the images is one rotation to the camera and back, and singular values are
    thresholded through the smaller Gram matrix. Stops where the two copies of the shape differ by less than
    `tolerance` of their size. Returns the shape that has the given image, and that difference.
    `start` must be finite. Source: Dai, Li, He, CVPR 2012; Boyd et al., ADMM, 2011, section 5.
    """
    n_frames, _, n_points = points.shape
    target = jnp.concatenate([points, jnp.zeros_like(points[:, :1])], 1)
    v = jnp.asarray(weights, points.dtype)[:, None]
    held = jnp.concatenate([v, v, jnp.zeros_like(v)], 1)
    # Points of size 1: singular values go from about sqrt(frame point) down.
    threshold = jnp.sqrt(1.0 * n_frames * n_points) / 20

    def project(x):
        camera = jnp.einsum("fij,fjp->fip", rotations, x, precision=HIGHEST)
        return jnp.einsum("fji,fjp->fip", rotations, camera + held * (target - camera), precision=HIGHEST)

    def body(state):
        x, u, _, _, count = state
        s = project(x - u)
        flat = singular_value_threshold((s + u).reshape(n_frames, -1), threshold, route="gram")
        x = flat.reshape(s.shape)
        return x, u + s - x, s, jnp.linalg.norm(x - s) / jnp.linalg.norm(s), count + 1

    s = project(start)
    state = (s, jnp.zeros_like(s), s, jnp.ones((), points.dtype), 0)
    out = lax.while_loop(lambda c: (c[3] > tolerance) & (c[4] < steps), body, state)
    return out[2], out[3]


def smooth_shape(
    rotations: Float[Array, "frame 3 3"],
    points: Float[Array, "frame 2 point"],
    weights: Float[Array, "frame point"],
    joined: Bool[Array, " link"],
    weight: float | Array = 1e-3,
) -> Float[Array, "frame 3 point"]:
    r"""$\min \sum_f |R_f X_f - W_f|^2_V + \lambda \sum_f |X_{f+1} - X_f|^2$, in closed form, V the `weights`.

    The pseudo-inverse with a first-difference penalty; `joined (frame - 1,)` says which neighbours are of one clip.
    Block tridiagonal with 3 x 3 blocks for each point: O(frame point), by block elimination. A point that a whole clip
    never sees is put at the origin.
    """
    plane = jnp.einsum("fai,faj->fij", rotations[:, :2], rotations[:, :2])
    v = jnp.asarray(weights, points.dtype)
    link = weight * joined.astype(points.dtype)
    degree = jnp.pad(link, (0, 1)) + jnp.pad(link, (1, 0))
    eye = jnp.eye(3, dtype=points.dtype)
    diagonal = v[..., None, None] * plane[:, None] + (degree[:, None, None, None] + 1e-9) * eye
    rhs = jnp.einsum("fai,fap,fp->fpi", rotations[:, :2], points, v)
    before = jnp.pad(link, (1, 0))  # link to the frame before

    def forward(state, x):
        inverse, y = state
        d, b, bond = x
        inverse_new = jnp.linalg.inv(d - bond**2 * inverse)
        y_new = jnp.einsum("pij,pj->pi", inverse_new, b + bond * y)
        return (inverse_new, y_new), (inverse_new, y_new)

    n_points = points.shape[2]
    start = (jnp.zeros((n_points, 3, 3), points.dtype), jnp.zeros((n_points, 3), points.dtype))
    _, (inverse, y) = lax.scan(forward, start, (diagonal, rhs, before))

    def backward(after, x):
        inverse, y, bond = x
        now = y + bond * jnp.einsum("pij,pj->pi", inverse, after)
        return now, now

    after = jnp.pad(link, (0, 1))
    _, out = lax.scan(backward, jnp.zeros_like(start[1]), (inverse, y, after), reverse=True)
    return out.transpose(0, 2, 1)


def pseudo_inverse_shape(
    rotations: Float[Array, "frame 3 3"],
    points: Float[Array, "frame 2 point"],
) -> Float[Array, "frame 3 point"]:
    r"""The pseudo-inverse of Dai et al.: $X_f = R_f^\top W_f$, flat at depth 0 in every frame.

    The shape of least nuclear norm in the (3 frame, point) arrangement. No better than a flat shape, as the published
    figures show too: kept because papers quote it. Missing points take the image that was filled in.
    """
    return jnp.einsum("fai,fap->fip", rotations[:, :2], points)


def joined_frames(sequence: np.ndarray | None, n_frames: int) -> Bool[Array, " link"]:
    """`(frame - 1,)` whether neighbours are of one clip; without `sequence` the frames are taken as one clip."""
    if sequence is None:
        return jnp.ones(max(n_frames - 1, 0), bool)
    return jnp.asarray(sequence[1:] == sequence[:-1])


nuclear_norm_shape_jit = jax.jit(nuclear_norm_shape, static_argnames=("steps",))
smooth_shape_jit = jax.jit(smooth_shape)
