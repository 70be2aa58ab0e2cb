r"""The network of PAUL as pure functions: codes to shapes, and the lower level that finds cameras and depths.

**The lower level, exactly** (`solver="exact"`). With the two norms joined, `sqrt(2 n(D)^2 + 2 n(A)^2)`, the best free
entries of x lie on `R M`, `M = (D + A) / 2`, which leaves `4 |R_xy M - w|^2` and terms without R: an orthographic-
n-point problem for the one shape M. `solve_onp` minimises it, so no gradient goes through the solver (at a minimum the
derivative of the lower problem drops out). `solver="linear"` is the paper's: the sum of norms, and the least-squares
camera for D and A together, projected to a rotation and differentiated through (eq. 2.9-2.10).

See `paul` for the objective and the source.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jnrsfm.geometry.normalization import (
    adjoint_perspective,
    adjoint_weak,
    masked_mean,
    measure_perspective,
    measure_weak,
)
from jnrsfm.geometry.pose import solve_onp, solve_onp_linear
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Observations
from jnrsfm.models.autoencoder import AutoencoderConfig, ProcrusteanAutoencoder

FINITE = 1e-12
_REFINE_RATE = 0.01
_KNOWN = 512  # codes of training frames that a new frame is compared with
_STARTS = 4  # of them, to improve
_BLOCK = 512  # frames at a time


class Batch(NamedTuple):
    """What training sees of frames, leading axis frame.

    `seen`: `Observations`; `number`: of the frame in the set; `start (frame, point, 3)`: object-frame shape of the
    start, `pull` how much D and A are drawn to it at first and `hold` the share of it that stays; `bend`: 1 where the
    frame has a neighbour on either side in its clip; `loose`: 1 where shapes are free from the beginning.
    """

    seen: Observations
    number: Any
    start: Any
    pull: Any
    hold: Any
    bend: Any
    loose: Any


class Terms(NamedTuple):
    """What the forward pass gives, in the unit of the normalised measurements."""

    code: Any
    first: Any  # D
    second: Any  # A
    shape: Any  # object frame: what the image shows, and what the lower level adds
    rotation: Any
    turned: Any  # the mean shape M in the camera frame
    misfit: Any  # (frame, 2): n(D), n(A)


class Network(NamedTuple):
    """The autoencoder as pure functions over its parameters."""

    config: AutoencoderConfig
    graph: Any

    @classmethod
    def of(cls, config: AutoencoderConfig) -> "Network":
        """Its structure, without arrays."""
        abstract = nnx.eval_shape(lambda: ProcrusteanAutoencoder(config, rngs=nnx.Rngs(params=0)))
        return cls(config, nnx.split(abstract)[0])

    def init(self, key):
        """Fresh parameters."""
        return nnx.to_pure_dict(nnx.state(ProcrusteanAutoencoder(self.config, rngs=nnx.Rngs(params=key))))

    def apply(
        self, params, batch: Batch, free: Any, solver: str, autoencoder: bool, code: Any = None
    ) -> Terms:
        """Forward pass and lower level, from `code (frame, k)` where it is given. `free (frame, 1)` in [0, 1] scales
        the codes: 0 is one rigid shape."""
        net = nnx.merge(self.graph, params)
        if code is None:
            code = self._code(net, batch)
        code = free * code
        first = net.decode(code)
        second = net.decode(net.encode(first)) if autoencoder else first
        found = lower_level(first, second, batch.seen, self.config.columns == 3, solver)
        return Terms(code, first, second, *found)

    def _code(self, net, batch: Batch):
        seen = batch.seen
        if self.config.columns == 3:
            measured = measure_perspective(seen.inputs, seen.trust, seen.depth)
            rows = adjoint_perspective(measured, seen.inputs, seen.trust)
            return net.lift(batch.number, seen.inputs * seen.depth[:, None, None], seen.trust, rows)
        measured = measure_weak(seen.inputs, seen.trust) / seen.depth[:, None, None]
        return net.lift(batch.number, measured, seen.trust, adjoint_weak(measured, seen.trust))

    def refined(
        self, params, batch: Batch, code: Any, steps: int, solver: str, autoencoder: bool, code_weight: float
    ) -> tuple[Terms, Any]:
        """Terms after `steps` of Adam on the codes alone, each frame for itself on its own misfit, and that misfit."""

        def each(code):
            terms = self.apply(params, batch, 1.0, solver, autoencoder, code)
            return jnp.sqrt(2 * jnp.sum(terms.misfit**2, -1)) + code_weight * jnp.sum(code**2, -1), terms

        adam = optax.adam(optax.cosine_decay_schedule(_REFINE_RATE, max(steps, 1)))

        def step(state, _):
            code, opt = state
            update, opt = adam.update(jax.grad(lambda c: jnp.sum(each(c)[0]))(code), opt)
            return (code + update, opt), None

        (code, _), _ = jax.lax.scan(step, (code, adam.init(code)), None, length=steps)
        misfit, terms = each(code)
        return terms, misfit

    def candidates(self, params, batch: Batch) -> Any:
        """`(start, frame, k)` codes to begin at: the encoder's; or, of the codes of the training frames (thinned to
        `_KNOWN`), those whose shapes explain the image best up to a linear camera (`solve_onp_linear`)."""
        net = nnx.merge(self.graph, params)
        if self.config.codes != "free":
            return self._code(net, batch)[None]
        known = params["codes"]
        known = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), _KNOWN)).astype(int))]
        shapes = net.decode(known)
        seen, depth = batch.seen, batch.seen.depth[:, None, None]
        points = seen.points * depth if self.config.columns == 3 else seen.points / depth

        def best(view):
            image, weights = view
            copies = (len(shapes), *image.shape)
            pose = solve_onp_linear(
                shapes, jnp.broadcast_to(image, copies), jnp.broadcast_to(weights, copies[:2])
            )
            return jax.lax.top_k(-pose.residual, min(_STARTS, len(known)))[1]

        nearest = jax.lax.map(best, (points, seen.weights))
        return jnp.moveaxis(known[nearest], 1, 0)


def lower_level(first, second, seen: Observations, perspective: bool, solver: str):
    """`(shape, rotation, turned, misfit)` of the lower level (module docstring) for object-frame shapes D and A, each
    `(frame, point, 3)`, centred. Points of weight 0 are free, as all depths are."""
    mean = 0.5 * (first + second)
    if solver == "linear":
        rotation = _pose(jnp.concatenate([first, second], 1), seen, perspective, solve_onp_linear, 2)
    else:
        rotation = _pose(jax.lax.stop_gradient(mean), seen, perspective, solve_onp, 1)
    turned = jnp.einsum("fpj,fij->fpi", mean, rotation)
    apart = 0.5 * jnp.einsum("fpj,fij->fpi", second - first, rotation)  # of each from the mean
    apart = apart - masked_mean(apart, seen.weights)  # both are centred on what the image shows (eq. 2.15)

    def misfit(sign):
        residual = image_residual(turned + sign * apart, seen, perspective)
        square = seen.weights * jnp.sum(residual**2, -1) + apart[..., 2] ** 2
        square = square + (seen.weights <= 0) * jnp.sum(apart[..., :2] ** 2, -1)
        return jnp.sqrt(jnp.mean(square, -1) + FINITE)

    shown = seen.weights[..., None] > 0
    fused = turned.at[..., :2].add(-jnp.where(shown, image_residual(turned, seen, perspective), 0.0))
    shape = jnp.einsum("fpi,fij->fpj", fused, rotation)
    return shape, rotation, turned, jnp.stack([misfit(-1.0), misfit(1.0)], -1)


def image_residual(turned, seen: Observations, perspective: bool):
    """`(frame, point, 2)` residual of camera-frame shapes in the normalised equations, which know no translation."""
    depth = seen.depth[:, None, None]
    image, target = turned[..., :2], measure_weak(seen.points, seen.weights)
    if perspective:
        image, target = image - seen.points * turned[..., 2:], target * depth
    else:
        target = target / depth
    return image - masked_mean(image, seen.weights) - target


def _pose(shape, seen: Observations, perspective: bool, solve, copies: int):
    """Rotation of `shape`, which holds the points `copies` times. Perspective: the image of a point at depth t_z + z
    is that of an orthographic camera times it (POSIT, DeMenthon and Davis, IJCV 15, 1995), three times over."""
    points = jnp.concatenate([seen.points] * copies, 1)
    weights = jnp.concatenate([seen.weights] * copies, 1)
    depth = seen.depth[:, None, None]
    if not perspective:
        return solve(shape, points / depth, weights).rotation
    rotation = solve(shape, points * depth, weights).rotation
    for _ in range(3):
        z = jnp.einsum("fpj,fj->fp", shape, rotation[:, 2])[..., None]
        rotation = solve(shape, points * jnp.maximum(depth + z, 0.1 * depth), weights).rotation
    return rotation


def lifted(
    network: Network, params, data: Batch, steps: int, solver: str, autoencoder: bool, code_weight: float
) -> tuple[np.ndarray, np.ndarray]:
    """Shapes `(frame, point, 3)` and rotations of frames, each by itself: from every candidate its code is improved by
    `steps`, and the end that explains the frame best is kept. A block of frames at a time."""

    parts = blocks(data, _BLOCK)
    rule = (steps, solver, autoencoder, code_weight)
    found = [
        _lift(network, rule, params, jax.tree.map(lambda x, i=i: x[i], parts))
        for i in range(len(parts.number))
    ]
    n = len(data.number)
    shape, rotation = (np.concatenate([np.asarray(x) for x in xs])[:n] for xs in zip(*found, strict=True))
    return shape, rotation


@partial(jax.jit, static_argnums=(0, 1))
def _lift(network: Network, rule, params, batch: Batch):
    """Shapes and rotations of a block."""
    steps, solver, autoencoder, code_weight = rule
    terms, misfit = jax.lax.map(
        lambda code: network.refined(params, batch, code, steps, solver, autoencoder, code_weight),
        network.candidates(params, batch),
    )
    best, frame = jnp.argmin(misfit, 0), jnp.arange(misfit.shape[1])
    return terms.shape[best, frame], terms.rotation[best, frame]
