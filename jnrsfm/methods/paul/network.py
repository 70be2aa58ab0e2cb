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

from jnrsfm.geometry.cameras import CameraModel
from jnrsfm.geometry.normalization import masked_mean
from jnrsfm.geometry.pose import solve_onp, solve_onp_linear
from jnrsfm.inputs.batching import blocks
from jnrsfm.inputs.observations import Observations
from jnrsfm.models.functional import Network

FINITE = 1e-12
_REFINE_RATE = 0.01
_KNOWN = 512  # codes of training frames that a new frame is compared with
_STARTS = 4  # of them, to improve
_BLOCK = 512  # frames at a time


class Batch(NamedTuple):
    """What training sees of frames, leading axis frame.

    `seen`: `Observations`; `number`: of the frame in the set; `start (frame, point, 3)`: object-frame shape of the
    start, to which both shapes are drawn; `bend`: 1 where the frame has a neighbour on either side in its clip.
    """

    seen: Observations
    number: Any
    start: Any
    bend: Any


def batch_of(seen: Observations, start: Any = None, bend: Any = None) -> Batch:
    """All frames, with shapes to be drawn to where there are any."""
    n, p = seen.weights.shape
    start = jnp.zeros((n, p, 3)) if start is None else jnp.asarray(start, jnp.float32)
    bend = jnp.zeros(n) if bend is None else jnp.asarray(bend, jnp.float32)
    return Batch(seen, jnp.arange(n), start, bend)


class Terms(NamedTuple):
    """What the forward pass gives, in the unit of the normalised measurements."""

    code: Any
    first: Any  # D
    second: Any  # A
    shape: Any  # object frame: what the image shows, and what the lower level adds
    rotation: Any
    camera_points: Any  # the mean shape M in the camera frame
    misfit: Any  # (frame, 2): n(D), n(A)


class Rule(NamedTuple):
    """How the objective is meant, static: the `camera`; the lower level's `solver`; `autoencoder`, or its decoder
    alone; `code_weight`."""

    camera: CameraModel
    solver: str
    autoencoder: bool
    code_weight: float


def forward(network: Network, rule: Rule, params, batch: Batch, free: Any, code: Any = None) -> Terms:
    """Forward pass and lower level, from `code (frame, k)` where it is given. `free` in [0, 1] scales the codes: 0 is
    one rigid shape."""
    net = network.module(params)
    if code is None:
        code = _code(net, rule.camera, batch)
    code = free * code
    first = net.decode(code)
    second = net.decode(net.encode(first)) if rule.autoencoder else first
    return Terms(code, first, second, *lower_level(first, second, batch.seen, rule.camera, rule.solver))


def _code(net, camera: CameraModel, batch: Batch):
    seen = batch.seen
    measured = camera.normalise(seen.inputs, seen.input_confidence, seen.depth)
    rows = camera.adjoint(measured, seen.inputs, seen.input_confidence)
    return net.lift(batch.number, measured, seen.input_confidence, rows)


def refined(network: Network, rule: Rule, params, batch: Batch, code: Any, steps: int) -> tuple[Terms, Any]:
    """Terms after `steps` of Adam on the codes alone, each frame for itself on its own misfit, and that misfit."""

    def each(code):
        terms = forward(network, rule, params, batch, 1.0, code)
        return jnp.sqrt(2 * jnp.sum(terms.misfit**2, -1)) + rule.code_weight * jnp.sum(code**2, -1), terms

    adam = optax.adam(optax.cosine_decay_schedule(_REFINE_RATE, max(steps, 1)))

    def step(state, _):
        code, opt = state
        update, opt = adam.update(jax.grad(lambda c: jnp.sum(each(c)[0]))(code), opt)
        return (code + update, opt), None

    (code, _), _ = jax.lax.scan(step, (code, adam.init(code)), None, length=steps)
    misfit, terms = each(code)
    return terms, misfit


def candidates(network: Network, rule: Rule, params, batch: Batch) -> Any:
    """`(start, frame, k)` codes to begin at: the encoder's; or, of the codes of the training frames (thinned to
    `_KNOWN`), those whose shapes explain the image best up to a linear camera (`solve_onp_linear`)."""
    net = network.module(params)
    if network.config.codes != "free":
        return _code(net, rule.camera, batch)[None]
    known = params["codes"]
    known = known[np.unique(np.linspace(0, len(known) - 1, min(len(known), _KNOWN)).astype(int))]
    shapes = net.decode(known)
    seen = batch.seen
    points = rule.camera.orthographic(seen.points, seen.depth)

    def best(view):
        image, weights = view
        copies = (len(shapes), *image.shape)
        pose = solve_onp_linear(
            shapes, jnp.broadcast_to(image, copies), jnp.broadcast_to(weights, copies[:2])
        )
        return jax.lax.top_k(-pose.residual, min(_STARTS, len(known)))[1]

    nearest = jax.lax.map(best, (points, seen.weights))
    return jnp.moveaxis(known[nearest], 1, 0)


def lower_level(first, second, seen: Observations, camera: CameraModel, solver: str):
    """`(shape, rotation, camera_points, misfit)` of the lower level (module docstring) for object-frame shapes D and A,
    each `(frame, point, 3)`, centred. Points of weight 0 are free, as all depths are."""
    mean = 0.5 * (first + second)
    if solver == "linear":
        rotation = _pose(jnp.concatenate([first, second], 1), seen, camera, solve_onp_linear, 2)
    else:
        rotation = _pose(jax.lax.stop_gradient(mean), seen, camera, solve_onp, 1)
    points = jnp.einsum("fpj,fij->fpi", mean, rotation)
    apart = 0.5 * jnp.einsum("fpj,fij->fpi", second - first, rotation)  # of each from the mean
    apart = apart - masked_mean(apart, seen.weights)  # both are centred on what the image shows (eq. 2.15)

    def residual(shape):
        return camera.image_residual(shape, seen.points, seen.weights, seen.depth)

    def misfit(sign):
        square = seen.weights * jnp.sum(residual(points + sign * apart) ** 2, -1) + apart[..., 2] ** 2
        square = square + (seen.weights <= 0) * jnp.sum(apart[..., :2] ** 2, -1)
        return jnp.sqrt(jnp.mean(square, -1) + FINITE)

    shown = seen.weights[..., None] > 0
    fused = points.at[..., :2].add(-jnp.where(shown, residual(points), 0.0))
    shape = jnp.einsum("fpi,fij->fpj", fused, rotation)
    return shape, rotation, points, jnp.stack([misfit(-1.0), misfit(1.0)], -1)


def _pose(shape, seen: Observations, camera: CameraModel, solve, copies: int):
    """Rotation of `shape`, which holds the points `copies` times: an orthographic problem, and where depth shows in the
    image three more, at the depths that the one before has found."""
    points = jnp.concatenate([seen.points] * copies, 1)
    weights = jnp.concatenate([seen.weights] * copies, 1)
    rotation = solve(shape, camera.orthographic(points, seen.depth), weights).rotation
    for _ in range(3 if camera.columns == 3 else 0):
        z = jnp.einsum("fpj,fj->fp", shape, rotation[:, 2])
        rotation = solve(shape, camera.orthographic(points, seen.depth, z), weights).rotation
    return rotation


def lifted(network: Network, rule: Rule, params, data: Batch, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Shapes `(frame, point, 3)` and rotations of frames, each by itself: from every candidate its code is improved by
    `steps`, and the end that explains the frame best is kept. A block of frames at a time."""
    parts = blocks(data, _BLOCK)
    found = [
        _lift(network, rule, steps, params, jax.tree.map(lambda x, i=i: x[i], parts))
        for i in range(len(parts.number))
    ]
    n = len(data.number)
    shape, rotation = (np.concatenate([np.asarray(x) for x in xs])[:n] for xs in zip(*found, strict=True))
    return shape, rotation


@partial(jax.jit, static_argnums=(0, 1, 2))
def _lift(network: Network, rule: Rule, steps: int, params, batch: Batch):
    """Shapes and rotations of a block."""
    terms, misfit = jax.lax.map(
        lambda code: refined(network, rule, params, batch, code, steps),
        candidates(network, rule, params, batch),
    )
    best, frame = jnp.argmin(misfit, 0), jnp.arange(misfit.shape[1])
    return terms.shape[best, frame], terms.rotation[best, frame]
