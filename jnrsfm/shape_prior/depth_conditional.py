r"""What a teacher knows of the depths of an image: their normal conditional given the 2D points.

Shapes in the object frame are $X \sim N(\mu, \Sigma)$, $\Sigma$ (3P x 3P) in full; a frame of known camera shows
$y = (R X)_{xy} + t + \epsilon$ at its visible points, t free, $\epsilon \sim N(0, \sigma^2 I)$. With the camera-frame
blocks $\Sigma_{zz}, \Sigma_{zx}, \Sigma_{xx}$ (visible rows, t marginalised by a wide normal),

$$m = \mu_z + \Sigma_{zx}\Sigma_{xx}^{-1}(y - \mu_x),\qquad C = \Sigma_{zz} - \Sigma_{zx}\Sigma_{xx}^{-1}\Sigma_{xz}.$$

The cost of depths z is $q(z) = (z-m)^\top Q (z-m)$, $Q = A - A 1 1^\top A / 1^\top A 1$, $A = (C + \phi^2 I)^{-1}$: the
offset of the depths is free, and no depth is asked for more firmly than $\phi$. It is the exact minimum over codes that
eq. 4.10 of the thesis asks for, where the regulariser of codes is that of a normal distribution, and where the code is
not found but marginalised.

`learn` finds $\mu$ and $\Sigma$ by expectation maximisation with the cameras of a teacher, whatever it was, held fixed,
from the teacher's shapes. A solver's shapes are posterior means: their own covariance is too small where images say
little, which is what the conditional is for.

Source: derived here; Wang, thesis, 2022, ch. 4 (the loss on a subspace of codes); Tipping and Bishop, 1999.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

_FREE = 10.0  # standard deviation of a translation, in units of the object's size: it is free
_SHRINK = 1e-3  # of the mean variance: what a direction has at least


class ShapeNormal(NamedTuple):
    """`mean (point, 3)` and `covariance (3 * point, 3 * point)` (x, y, z of a point side by side) of shapes in the
    object frame, in units of the object's size; `noise`: standard deviation of the image points in that unit."""

    mean: Any
    covariance: Any
    noise: Any


class DepthConditional(NamedTuple):
    """`mean (*batch, point)`: m, up to an offset; `factor (*batch, point, point)`: F with F^T F = Q; `spread (*batch,
    point)`: square root of the diagonal of C; `shape (*batch, point, 3)`: the camera-frame shape's posterior mean."""

    mean: Any
    factor: Any
    spread: Any
    shape: Any


def _camera_frame(normal: ShapeNormal, rotation):
    """Mean `(point, 3)` and covariance `(point, 3, point, 3)` of R X."""
    p = normal.mean.shape[0]
    full = normal.covariance.reshape(p, 3, p, 3)
    return normal.mean @ rotation.T, jnp.einsum("ai,piqj,cj->paqc", rotation, full, rotation)


def _posterior(normal: ShapeNormal, rotation, points, visible):
    """Posterior mean `(point, 3)` and covariance `(3 point, 3 point)` of one frame's camera-frame shape; t free."""
    mean, full = _camera_frame(normal, rotation)
    p = mean.shape[0]
    seen = (visible > 0).astype(mean.dtype)
    rows = jnp.broadcast_to(seen[:, None], (p, 2)).reshape(-1)
    cross = full[:, :, :, :2].reshape(3 * p, 2 * p) * rows  # of all with what is seen
    inner = full[:, :2, :, :2].reshape(2 * p, 2 * p)
    free = jnp.kron(jnp.ones((p, p), mean.dtype), jnp.eye(2, dtype=mean.dtype)) * _FREE**2
    inner = (inner + free) * rows[:, None] * rows
    inner = inner + jnp.diag(jnp.where(rows > 0, normal.noise**2, 1.0))
    e = (jnp.where(seen[:, None] > 0, points - mean[:, :2], 0.0)).reshape(-1)
    factor = jnp.linalg.cholesky(inner)
    half = lax.linalg.triangular_solve(factor, cross, transpose_a=True, lower=True)  # cross @ L^-T
    white = lax.linalg.triangular_solve(factor, e[:, None], left_side=True, lower=True)[:, 0]
    shape = mean + (half @ white).reshape(p, 3)
    return shape, full.reshape(3 * p, 3 * p) - half @ half.T


def condition_depths(
    normal: ShapeNormal,
    rotations: Float[Array, "*batch 3 3"],
    points2d: Float[Array, "*batch point 2"],
    visible: Float[Array, "*batch point"],
    floor: float,
) -> DepthConditional:
    """The conditional of the depths of images in units of the object's size; `floor` is phi of the module docstring.

    What is stored at a point that is not visible does not matter.
    """

    def one(rotation, points, seen):
        shape, covariance = _posterior(normal, rotation, points, seen)
        p = shape.shape[0]
        c = covariance.reshape(p, 3, p, 3)[:, 2, :, 2]
        c = (c + c.T) / 2
        a = jnp.linalg.inv(c + floor**2 * jnp.eye(p, dtype=c.dtype))
        ones = a.sum(1)
        q = a - jnp.outer(ones, ones) / ones.sum()
        values, vectors = jnp.linalg.eigh((q + q.T) / 2)
        factor = jnp.sqrt(jnp.maximum(values, 0))[:, None] * vectors.T
        return shape[:, 2], factor, jnp.sqrt(jnp.maximum(jnp.diag(c), 0)), shape

    batch = points2d.shape[:-2]
    flat = lambda x, tail: jnp.asarray(x).reshape(-1, *x.shape[len(x.shape) - tail :])
    found = lax.map(
        lambda args: one(*args), (flat(rotations, 2), flat(points2d, 2), flat(visible, 1)), batch_size=32
    )
    return DepthConditional(*(x.reshape(*batch, *x.shape[1:]) for x in found))


@partial(jax.jit, static_argnames="steps")
def _em(normal: ShapeNormal, rotations, points2d, visible, steps: int):
    p = normal.mean.shape[0]
    centring = jnp.kron(jnp.eye(p) - 1.0 / p, jnp.eye(3)).astype(normal.mean.dtype)

    def expectation(normal, frame):
        rotation, points, seen = frame
        shape, covariance = _posterior(normal, rotation, points, seen)
        back = jnp.kron(jnp.eye(p, dtype=shape.dtype), rotation.T)
        x = centring @ (shape @ rotation).reshape(-1)
        turned = centring @ back
        return x, turned @ covariance @ turned.T

    def step(normal, _):
        def add(total, frame):
            x, covariance = expectation(normal, frame)
            return (total[0] + x, total[1] + covariance + jnp.outer(x, x)), None

        zero = (jnp.zeros(3 * p, normal.mean.dtype), jnp.zeros((3 * p, 3 * p), normal.mean.dtype))
        (first, second), _ = lax.scan(add, zero, (rotations, points2d, visible))
        n = len(rotations)
        mean = first / n
        covariance = second / n - jnp.outer(mean, mean)
        least = _SHRINK * jnp.trace(covariance) / (3 * p)
        covariance = (n * covariance + 3 * p * least * centring) / (n + 3 * p)
        return normal._replace(mean=mean.reshape(p, 3), covariance=(covariance + covariance.T) / 2), None

    return lax.scan(step, normal, None, length=steps)[0]


def learn(
    shapes: np.ndarray,
    rotations: np.ndarray,
    points2d: np.ndarray,
    visible: np.ndarray,
    *,
    noise: float,
    steps: int = 10,
    most: int = 4096,
) -> ShapeNormal:
    """The distribution of shapes under a teacher's cameras `rotations (frame, 3, 3)`, from its object-frame `shapes
    (frame, point, 3)`; images `points2d (frame, point, 2)`; all in units of the object's size, of which `noise` is the
    standard deviation of the image points. At most `most` frames, evenly spaced, are used."""
    pick = np.linspace(0, len(shapes) - 1, min(most, len(shapes))).astype(int)
    x = np.asarray(shapes, np.float64)[pick]
    x = (x - x.mean(1, keepdims=True)).reshape(len(pick), -1)
    covariance = np.cov(x.T, bias=True) + noise**2 * np.eye(x.shape[1])
    f32 = lambda a: jnp.asarray(np.asarray(a, np.float32))
    start = ShapeNormal(f32(x.mean(0).reshape(-1, 3)), f32(covariance), jnp.float32(noise))
    return _em(start, f32(rotations[pick]), f32(points2d[pick]), f32(visible[pick]), steps)
