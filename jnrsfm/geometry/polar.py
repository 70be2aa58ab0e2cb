r"""Polar factors and the orthogonal alignment of single frames on the host: NumPy, in the precision of the input.

For solvers and scores that work in float64 outside of `jit`, on shapes of any number of frames; nothing here has a
derivative or is compiled. The differentiable, weighted alignments that also find scale and translation are in
`procrustes`, and the nearest rotation as a primitive of JAX is `rotations.project_to_so3`.
"""

import numpy as np
from jaxtyping import Float


def polar_factor(m: Float[np.ndarray, "*batch row col"]) -> Float[np.ndarray, "*batch row col"]:
    r"""Nearest matrix with orthonormal rows (or columns, whichever are fewer): $U V^\top$ of the thin SVD.

    Square matrices: the nearest orthogonal one, of either determinant. Not unique where the rank is not full; one
    answer is taken. Reference: Higham, Functions of Matrices, 2008, ch. 8.
    """
    u, _, vt = np.linalg.svd(m, full_matrices=False)
    return u @ vt


def align_frames(
    source: Float[np.ndarray, "frame point 3"],
    target: Float[np.ndarray, "frame point 3"],
    *,
    mirror: bool,
) -> Float[np.ndarray, "frame point 3"]:
    r"""Each frame rotated onto its target: $S Q$ with $Q = \arg\min \|S Q - S^*\|_F$, Q orthogonal, no scale.

    `mirror=True` allows det Q = -1; `False` keeps det Q = +1. Both inputs centred, points that do not count at 0.
    Where $S^\top S^*$ has rank below 2 the minimiser is not unique; one is taken.
    Reference: Umeyama, TPAMI 13(4), 1991.
    """
    u, _, vt = np.linalg.svd(np.einsum("fpi,fpj->fij", source, target))
    if not mirror:
        u[..., -1] *= np.sign(np.linalg.det(u) * np.linalg.det(vt))[:, None]
    return source @ (u @ vt)
