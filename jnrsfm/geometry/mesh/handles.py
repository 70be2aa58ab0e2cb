r"""Handles: a few points whose displacement deforms a mesh, the surface kept as its Laplacian says.

$$V^* = \arg\min_V \| s (L V - L T) \|^2 + \| A V - \tilde H \|^2, \qquad \tilde H = A T + \Delta,$$

T the template, A `(handle, vertex)` right-stochastic, s the stiffness: the larger, the less the handles are followed.
Since $W T = s^2 L^T L T + A^T A T$ with $W = s^2 L^T L + A^T A$, the template is a fixed point and

$$V^* = T + D \Delta, \qquad D = W^{-1} A^T,$$

so that a batch of any size costs one Cholesky factorisation and two triangular solves with one column for each handle.
For a cotangent $\bar D$, with $Z = W^{-1} \bar D$, the derivative for A is $(I - A D) Z^T - (A Z) D^T$, from $dD =
W^{-1} dA^T - W^{-1} (dA^T A + A^T dA) D$: two more such solves, and no Kronecker product. With A fixed, D is a
constant: the deformation is one matrix product (`fold`).

Source: Kokkinos and Kokkinos, Learning monocular 3D reconstruction of articulated categories from motion, CVPR 2021,
eq. 1 to 5 and 9 to 16; Sorkine et al., Laplacian surface editing, SGP 2004. The form in D is ours: the same minimiser,
and the same derivatives.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import cho_solve
from jaxtyping import Array, ArrayLike, Float, Int

from jnrsfm.geometry.mesh.laplacian import LaplacianKind, farthest_vertices, laplacian
from jnrsfm.geometry.mesh.record import TriangleMesh

HIGHEST = jax.lax.Precision.HIGHEST


def dependency(
    distances: Float[np.ndarray, "handle vertex"], power: float = 16.0, floor: float | None = None
) -> Float[np.ndarray, "handle vertex"]:
    """Logits whose row-wise softmax is A, `A[k, i]` proportional to `d(k, i) ** -power`: handle k is near its vertex.

    Distances below `floor` (default: half the smallest positive one of the row) count as `floor`. As in the released
    code of the paper (power 16); eq. 4 in print, `exp(1 / d)`, has an exponent that changes with the unit.
    """
    positive = np.where(distances > 1e-9 * distances.max(), distances, np.inf)
    least = 0.5 * positive.min(1, keepdims=True) if floor is None else floor
    return -power * np.log(np.maximum(distances, least) / least)


@jax.custom_vjp
def handle_basis(
    gram: Float[Array, "vertex vertex"], weights: Float[Array, "handle vertex"]
) -> Float[Array, "vertex handle"]:
    r"""$D = (G + A^T A)^{-1} A^T$, of `gram` $G = s^2 L^T L$ (a constant: no derivative) and `weights` A.

    Finite where G + A^T A is positive definite: a connected mesh and at least one handle. Otherwise NaN.
    """
    return _basis(gram, weights)[0]


def _basis(gram, weights):
    factor = jnp.linalg.cholesky(gram + jnp.matmul(weights.T, weights, precision=HIGHEST))
    return cho_solve((factor, True), weights.T), factor


def _basis_fwd(gram, weights):
    found, factor = _basis(gram, weights)
    return found, (factor, weights, found)


def _basis_bwd(residuals, cotangent):
    factor, a, d = residuals
    z = cho_solve((factor, True), cotangent)
    times = lambda x, y: jnp.matmul(x, y, precision=HIGHEST)
    return jnp.zeros_like(factor), z.T - times(times(a, d), z.T) - times(times(a, z), d.T)


handle_basis.defvjp(_basis_fwd, _basis_bwd)


def deform(
    gram: Float[ArrayLike, "vertex vertex"],
    rest: Float[ArrayLike, "vertex 3"],
    weights: Float[ArrayLike, "handle vertex"],
    handles: Float[ArrayLike, "*batch handle 3"],
) -> Float[Array, "*batch vertex 3"]:
    r"""Deformed vertices $V^*$ for handle positions $\tilde H$ (see the module), one factorisation for the batch.

    Differentiable for `weights` A, `handles` and `rest`; `gram` is a constant.
    """
    gram, rest, weights, handles = (jnp.asarray(x) for x in (gram, rest, weights, handles))
    moved = handles - jnp.matmul(weights, rest, precision=HIGHEST)
    return rest + jnp.einsum("vk,...kj->...vj", handle_basis(gram, weights), moved, precision=HIGHEST)


def fold(
    gram: Float[np.ndarray, "vertex vertex"],
    rest: Float[np.ndarray, "vertex 3"],
    weights: Float[np.ndarray, "handle vertex"],
) -> tuple[Float[np.ndarray, "vertex 3"], Float[np.ndarray, "vertex handle"]]:
    r"""C and D of $V^* = C + D \tilde H$ for constant A, solved in float64: $C = T - D A T$."""
    from scipy.linalg import cho_factor
    from scipy.linalg import cho_solve as solve

    g, t, a = (np.asarray(x, np.float64) for x in (gram, rest, weights))
    d = solve(cho_factor(g + a.T @ a, lower=True), a.T)
    return t - d @ (a @ t), d


class HandleModel(NamedTuple):
    """A template with its handles: `rest (vertex, 3)`, `gram (vertex, vertex)`, `logits (handle, vertex)` of A,
    `vertices (handle,)` at which the handles sit, `basis (vertex, handle)` D of the initial A."""

    rest: Float[np.ndarray, "vertex 3"]
    gram: Float[np.ndarray, "vertex vertex"]
    logits: Float[np.ndarray, "handle vertex"]
    vertices: Int[np.ndarray, " handle"]
    basis: Float[np.ndarray, "vertex handle"]

    @property
    def weights(self) -> Float[np.ndarray, "handle vertex"]:
        """A: rows on the simplex."""
        e = np.exp(self.logits - self.logits.max(1, keepdims=True))
        return e / e.sum(1, keepdims=True)


def handle_model(
    mesh: TriangleMesh,
    handles: int,
    *,
    stiffness: float = 0.1,
    kind: LaplacianKind = "intrinsic",
    power: float = 16.0,
) -> HandleModel:
    """Handles at farthest vertices of a mesh. Raises InputError for more of them than vertices, and without the extra
    `mesh`."""
    chosen, distances = farthest_vertices(mesh, handles)
    matrix = laplacian(mesh, kind)
    gram = (stiffness**2 * (matrix.T @ matrix)).toarray()
    logits = dependency(distances, power)
    rest = np.asarray(mesh.vertices, np.float64)
    model = HandleModel(rest, gram, logits, chosen, np.zeros((len(rest), handles)))
    basis = fold(gram, rest, model.weights)[1]
    narrow = lambda x: np.asarray(x, np.float32)
    return HandleModel(narrow(rest), narrow(gram), narrow(logits), chosen, narrow(basis))
