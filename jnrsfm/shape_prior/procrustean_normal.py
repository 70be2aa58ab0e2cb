r"""The Procrustean normal distribution: aligned shapes are normally distributed, low rank plus noise.

$$X \sim N(\mu, B B^\top + \tau I) \text{ in } R^{3P},\qquad X = \mu + B z + \epsilon,\quad z \sim N(0, I_r).$$

A camera with scaled rows P = c R (2 x 3) shows $y = P X + t$ at the points that it sees. Everything comes from
matrices of size r x r; no matrix of size 3P x 3P is formed.

Source: Lee, Cho, Choi, Oh: Procrustean normal distribution for non-rigid structure from motion, CVPR 2013; low rank
plus noise: Tipping and Bishop, JRSS B 61(3), 1999.
"""

import dataclasses
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, ArrayLike, Float

from jnrsfm.shape_prior import procrustean_em as em


class CodePosterior(NamedTuple):
    """The normal posterior of a code z. `mean (*batch, k, 1)`; `factor (*batch, k, k)` the Cholesky factor of
    M = I + A^T A / tau, `half` its inverse and `cov` = M^{-1} the covariance; `weighted (*batch, n, 1)` = V^{-1} e with
    V = A A^T + tau I; `log_det (*batch,)` = log det M = log det V - n log tau."""

    mean: Any
    factor: Any
    half: Any
    cov: Any
    weighted: Any
    log_det: Any


def code_posterior(
    a: Float[Array, "*batch n k"], e: Float[Array, "*batch n 1"], noise: Float[Array, "*#batch 1 1"]
) -> CodePosterior:
    r"""Posterior of z in $e = A z + \epsilon$ with $z \sim N(0, I)$ and $\epsilon \sim N(0, \tau I)$, `noise` tau > 0.

    Rows of A and e that are 0 are not observed. $z = M^{-1} A^\top e / \tau$, O(n k^2 + k^3).
    """
    a_t = jnp.swapaxes(a, -1, -2)
    eye = jnp.eye(a.shape[-1], dtype=a.dtype)
    factor = jnp.linalg.cholesky(eye + a_t @ a / noise)
    half = lax.linalg.triangular_solve(
        factor, jnp.broadcast_to(eye, factor.shape), left_side=True, lower=True
    )
    cov = jnp.swapaxes(half, -1, -2) @ half
    mean = cov @ (a_t @ e) / noise
    log_det = 2 * jnp.sum(jnp.log(jnp.diagonal(factor, axis1=-2, axis2=-1)), -1)
    return CodePosterior(mean, factor, half, cov, (e - a @ mean) / noise, log_det)


class ShapePosterior(NamedTuple):
    """The shape of an image. `mean (*batch, point, 3)` and `spread (*batch, point)`, the standard deviation of a
    point's place (root of the mean over x, y, z); `code (*batch, mode)` and its `code_cov (*batch, mode, mode)`;
    `log_likelihood (*batch,)` of the image, the density of all coordinates that were seen."""

    mean: Float[Array, "*batch point 3"]
    spread: Float[Array, "*batch point"]
    code: Float[Array, "*batch mode"]
    code_cov: Float[Array, "*batch mode mode"]
    log_likelihood: Float[Array, "*batch"]


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True)
class ProcrusteanNormal:
    """A normal distribution of shapes in their aligned frame: `mean (point, 3)`, `basis (point, 3, mode)` B, `noise`
    the variance tau > 0, in units of the shapes (squared). One distribution; `vmap` over several."""

    mean: Float[ArrayLike, "point 3"]
    basis: Float[ArrayLike, "point 3 mode"]
    noise: Float[ArrayLike, ""]

    def log_density(self, shapes: Float[ArrayLike, "*batch point 3"]) -> Float[Array, "*batch"]:
        """Natural logarithm of the density at aligned shapes."""
        shapes, basis = jnp.asarray(shapes), jnp.asarray(self.basis)
        n = shapes.shape[-2] * 3
        e = (shapes - jnp.asarray(self.mean)).reshape(*shapes.shape[:-2], n, 1)
        noise = jnp.asarray(self.noise)[None, None]
        found = code_posterior(
            jnp.broadcast_to(basis.reshape(n, -1), (*e.shape[:-1], basis.shape[-1])), e, noise
        )
        log_det = found.log_det + n * jnp.log(noise[0, 0])
        return -0.5 * (jnp.sum(e * found.weighted, (-2, -1)) + log_det + n * math.log(2 * math.pi))

    def sample(self, key: Array, shape: tuple[int, ...] = ()) -> Float[Array, "*batch point 3"]:
        """Shapes `(*shape, point, 3)` drawn from the distribution. `shape` is static."""
        mean, basis = jnp.asarray(self.mean), jnp.asarray(self.basis)
        for_code, for_noise = jax.random.split(key)
        code = jax.random.normal(for_code, (*shape, basis.shape[-1]), mean.dtype)
        noise = jax.random.normal(for_noise, (*shape, *mean.shape), mean.dtype)
        return mean + jnp.einsum("pik,...k->...pi", basis, code) + jnp.sqrt(jnp.asarray(self.noise)) * noise

    def conditional(
        self,
        points2d: Float[ArrayLike, "*batch point 2"],
        visible: Float[ArrayLike, "*batch point"],
        rows: Float[ArrayLike, "*batch 2 3"],
        *,
        translation: float = 0.0,
    ) -> ShapePosterior:
        r"""Posterior of the shape given its image `points2d` = X P^T + t under a camera P with `rows` c R, c > 0.

        `visible` is 1 where a point was seen, else 0; what is stored at a hidden point does not matter. t is 0, or,
        with a static `translation` s > 0, unknown with $t \sim N(0, s^2 I)$: choose s well above the shape's size for a
        translation that is free.

        With $w = (z, t)$, $A = [P B, s I]$ and $P^+$ the pseudo-inverse of P at the points that were seen,
        $X = \mu + L w + P^+ e + (I - P^+ P)\epsilon$, $L = [B, 0] - P^+ A$: what was seen is known but for t.
        """
        points2d, rows, visible = jnp.asarray(points2d), jnp.asarray(rows), jnp.asarray(visible)
        mean, basis = jnp.asarray(self.mean), jnp.asarray(self.basis)
        *batch, p, _ = points2d.shape
        modes = basis.shape[-1]
        seen = (visible > 0)[..., None]
        square = jnp.sum(rows**2, (-2, -1)) / 2  # c^2
        noise = (jnp.asarray(self.noise) * square)[..., None, None]
        e = jnp.where(seen, points2d - jnp.einsum("...ai,pi->...pa", rows, mean), 0.0)
        a = jnp.einsum("...ai,pik->...pak", rows, basis)
        if translation:
            shift = translation * jnp.eye(2, dtype=mean.dtype)
            a = jnp.concatenate([a, jnp.broadcast_to(shift, (*batch, p, 2, 2))], -1)
        a = jnp.where(seen[..., None], a, 0.0)
        found = code_posterior(a.reshape(*batch, 2 * p, -1), e.reshape(*batch, 2 * p, 1), noise)
        code = found.mean[..., 0]

        back = rows / square[..., None, None]  # its transpose is P^+
        padded = jnp.pad(basis, ((0, 0), (0, 0), (0, a.shape[-1] - modes)))
        loading = padded - jnp.einsum("...ai,...pak->...pik", back, a)
        shape = mean + jnp.einsum("...pik,...k->...pi", loading, code)
        shape = shape + jnp.einsum("...ai,...pa->...pi", back, e)
        known = jnp.sum(loading * jnp.einsum("...pik,...kl->...pil", loading, found.cov), (-2, -1)) / 3
        left = jnp.where(seen[..., 0], 1 / 3, 1.0)  # trace of I - P^+ P over 3
        count = 2 * jnp.sum(seen, (-2, -1))
        cost = jnp.sum(e * found.weighted.reshape(e.shape), (-2, -1)) + found.log_det
        cost = cost + count * (jnp.log(noise[..., 0, 0]) + math.log(2 * math.pi))
        return ShapePosterior(
            shape, jnp.sqrt(known + left * jnp.asarray(self.noise)), code[..., :modes],
            found.cov[..., :modes, :modes], -0.5 * cost,
        )  # fmt: skip

    @classmethod
    def from_state(cls, state: em.State) -> "ProcrusteanNormal":
        """The distribution where expectation maximisation stands."""
        modes = state.basis.shape[1]
        basis = (state.basis * jnp.sqrt(state.variances)).reshape(3, -1, modes).transpose(1, 0, 2)
        return cls(state.mean.T, basis, state.noise)

    @classmethod
    def fit(
        cls,
        points: Float[ArrayLike, "frame 2 point"],
        seen: Float[ArrayLike, "frame point"],
        rows: Float[ArrayLike, "frame 2 3"],
        *,
        modes: int,
        steps: int,
        cooling: float = 0.93,
        floor: float = 1e-4,
        free_scale: bool = False,
        tangent: bool = False,
    ) -> tuple["ProcrusteanNormal", em.State]:
        """Distribution, cameras and shapes by expectation maximisation from first cameras `rows`, orthonormal.

        `points` are centred images of size about 1, `seen` 1 where observed, else 0. `floor` is the least standard
        deviation of the noise; the other settings are those of `procrustean_em.iterate`. Returns the
        distribution and the last state, which holds cameras and shapes. For float64: call it with x64 enabled.
        """
        points, seen = jnp.asarray(points), jnp.asarray(seen)
        state = em.start(points, jnp.asarray(rows), modes, 1.0)
        state = em.iterate(
            state, points, seen, cooling=cooling, floor=floor**2, steps=steps, gaps=not bool((seen > 0).all()),
            free_scale=free_scale, tangent=float(tangent),
        )  # fmt: skip
        return cls.from_state(state), state
