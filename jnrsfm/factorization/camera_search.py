r"""Cameras by the metric upgrade from many starts: for methods that refine them and only need the right basin.

The motion factor of low rank has `M_f G = R_f` with a constant scale (a mean shape is among the bases). The cost
$\sum_f |M_f G G^T M_f^T - I|^2$ has local minima, which the convex relaxation and the continuation from rank 3 both
meet on strongly bending bodies; a handful of random starts, refined together, does not.

Source: the cost of Akhter et al., NIPS 2008; the random starts are ours.
"""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jnrsfm.factorization.cameras import motion_factor
from jnrsfm.factorization.upgrade import refine_corrective
from jnrsfm.geometry.polar import polar_factor

_STEPS = 60


@partial(jax.jit, static_argnames=("starts",))
def _search(motion, seed, starts):
    motion = motion / jnp.sqrt(jnp.mean(jnp.sum(motion**2, -1)))
    first = jax.random.normal(jax.random.key(seed), (starts, motion.shape[-1], 3), motion.dtype) / np.sqrt(
        3.0
    )
    ends = jax.vmap(lambda g: refine_corrective(motion, g, "constant", _STEPS))(first)
    cameras = jnp.einsum("fan,sni->sfai", motion, ends)
    gram = jnp.einsum("sfai,sfbi->sfab", cameras, cameras) - jnp.eye(2, dtype=motion.dtype)
    cost = jnp.mean(jnp.sum(gram**2, (2, 3)), 1)
    best = jnp.argmin(jnp.where(jnp.isfinite(cost), cost, jnp.inf))
    return cameras[best], cost[best]


def search_cameras(
    points: Float[np.ndarray, "frame 2 point"], rank: int = 3, starts: int = 16, seed: int = 0
) -> tuple[Float[np.ndarray, "frame 2 3"], float]:
    """Orthonormal camera rows `(frame, 2, 3)` of centred images of size 1 without gaps, and the mean squared
    departure from orthonormality of the best of `starts` starts.

    `rank` is the number of shape bases; it is lowered where there are too few points or frames for it.
    """
    n_frames, _, n_points = points.shape
    rank = max(1, min(rank, (n_points - 1) // 3, n_frames // 4))
    with jax.enable_x64(True):
        cameras, cost = _search(jnp.asarray(motion_factor(points, 3 * rank)), seed, starts)
        rows = polar_factor(np.asarray(cameras))
    return rows, float(cost)
