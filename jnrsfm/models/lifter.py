r"""The residual lifter of C3DPO: landmarks of one sample to shape coefficients and a camera.

    h = trunk([xy, seen]),   a = W_a h + b_a,   R = rotation(W_r h + b_r),   X = c(a) S (+ b_S),

with one shape basis S for the keypoints of all categories. `nonnegative` makes c the ReLU and adds the translation
b_S, so that the shapes are a cone with apex b_S; else c is the identity and there is no b_S. The trunk is one of two:

* residual: a linear layer and residual blocks with a bottleneck, each linear layer followed by a normalisation;
* transformer: a token for each seen keypoint p, `h_p = W [xy_p, seen_p] + e_p` with e_p learned, pre-norm layers of
  attention among them (`models.attention`), their mean, and a hidden layer. Permuting points, the e_p and the basis
  permutes the shape and leaves the rotation; what is hidden, or of another category, is no token.

`Canonizer`, the second network of C3DPO, takes a shape that was turned to the coefficients of the unturned one.

Source: Novotny et al., C3DPO, ICCV 2019 (1024 units, six blocks, every weight N(0, 0.01^2), batch normalisation with
scales from U(0, 1)); the cone: Can et al., End-to-End Learning of Multi-category 3D Pose and Shape Estimation, 2021,
section 3.3. Layer normalisation, none, rotations projected from six or nine numbers, and the transformer are the
alternatives here.
"""

import dataclasses
import itertools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.geometry.rotations import (
    axis_angle_to_matrix,
    complete_rotation,
    project_to_so3,
    project_to_stiefel,
)
from jnrsfm.models.attention import Layer, dense

TrunkKind = Literal["residual", "transformer"]
NormKind = Literal["batch", "layer", "none"]
RotationKind = Literal["exponential", "6d", "9d"]
Mode = Literal["batch", "measure", "frozen"]
_NUMBERS = {"exponential": 3, "6d": 6, "9d": 9}
_WEIGHTS = jax.nn.initializers.normal(0.01)


@dataclasses.dataclass(frozen=True)
class LifterConfig:
    """Sizes and choices of a lifter; `basis` 0 leaves the shape to somebody else (only the rotation comes out);
    `context`: numbers of what an image says beside its points. `token_width`, `heads` and `layers` are those of the
    transformer, `members` the most points that a sample has (0: all)."""

    n_points: int
    basis: int = 10
    width: int = 1024
    inner: int = 256
    blocks: int = 6
    norm: NormKind = "batch"
    rotation: RotationKind = "exponential"
    nonnegative: bool = False
    context: int = 0
    trunk: TrunkKind = "residual"
    token_width: int = 96
    heads: int = 4
    layers: int = 2
    members: int = 0

    def __post_init__(self):
        """Refuse what is no network."""
        if min(self.n_points, self.width, self.inner) < 1 or min(self.basis, self.blocks) < 0:
            raise InputError(
                f"width is {self.width}, inner {self.inner}, blocks {self.blocks} and basis {self.basis}: give "
                "widths of at least 1, blocks and basis of at least 0"
            )
        if min(self.token_width, self.heads, self.layers) < 1 or self.token_width % self.heads:
            raise InputError(
                f"token_width is {self.token_width}, heads {self.heads} and layers {self.layers}: give at least 1, and "
                "a token_width that divides by heads"
            )


class Lifted(NamedTuple):
    """`shape (*batch, point, 3)` in the object frame, `rotation (*batch, 3, 3)` to the camera, and the coefficients
    `code (*batch, basis)` that made the shape."""

    shape: Any
    rotation: Any
    code: Any


class Norm(nnx.Module):
    """Normalisation with a scale and a shift.

    Batch: `mode` "batch" normalises by the batch at hand, "measure" does so and keeps its statistics, "frozen" uses the
    kept ones, which are model state and not optimised. There is no running average: statistics are measured on the
    whole set when they are needed. Layer normalisation and none know no modes.
    """

    def __init__(self, width: int, kind: NormKind, *, rngs: nnx.Rngs):
        self.kind = kind
        if kind == "none":
            return
        scale = jax.random.uniform(rngs.params(), (width,)) if kind == "batch" else jnp.ones(width)
        self.scale, self.shift = nnx.Param(scale), nnx.Param(jnp.zeros(width))
        if kind == "batch":
            self.mean, self.variance = nnx.BatchStat(jnp.zeros(width)), nnx.BatchStat(jnp.ones(width))

    def __call__(self, h: Float[Array, "*batch width"], mode: Mode) -> Float[Array, "*batch width"]:
        """Normalised features."""
        if self.kind == "none":
            return h
        if self.kind == "layer":
            mean, variance = jnp.mean(h, -1, keepdims=True), jnp.var(h, -1, keepdims=True)
        elif mode == "frozen":
            mean, variance = self.mean[...], self.variance[...]
        else:
            axes = tuple(range(h.ndim - 1))
            mean, variance = jnp.mean(h, axes), jnp.var(h, axes)
            if mode == "measure":
                self.mean[...], self.variance[...] = mean, variance
        return (h - mean) * jax.lax.rsqrt(variance + 1e-5) * self.scale[...] + self.shift[...]


def _linear(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    return nnx.Linear(inputs, outputs, kernel_init=_WEIGHTS, rngs=rngs)


class Block(nnx.Module):
    """`ReLU(h + N3 W3 ReLU(N2 W2 ReLU(N1 W1 h)))` through a narrow middle."""

    def __init__(self, config: LifterConfig, *, rngs: nnx.Rngs):
        sizes = (config.width, config.inner, config.inner, config.width)
        pairs = list(itertools.pairwise(sizes))
        self.layers = nnx.List([_linear(a, b, rngs) for a, b in pairs])
        self.norms = nnx.List([Norm(b, config.norm, rngs=rngs) for _, b in pairs])

    def __call__(self, h: Float[Array, "*batch width"], mode: Mode) -> Float[Array, "*batch width"]:
        """One block."""
        x = h
        for i, (layer, norm) in enumerate(zip(self.layers, self.norms, strict=True)):
            x = norm(layer(x), mode)
            x = jax.nn.relu(x if i < 2 else h + x)
        return x


class Trunk(nnx.Module):
    """A linear layer and the residual blocks."""

    def __init__(self, inputs: int, config: LifterConfig, *, rngs: nnx.Rngs):
        self.stem = _linear(inputs, config.width, rngs)
        self.norm = Norm(config.width, config.norm, rngs=rngs)
        self.blocks = nnx.List([Block(config, rngs=rngs) for _ in range(config.blocks)])

    def __call__(self, x: Float[Array, "*batch input"], mode: Mode) -> Float[Array, "*batch width"]:
        """Features."""
        h = jax.nn.relu(self.norm(self.stem(x), mode))
        for block in self.blocks:
            h = block(h, mode)
        return h


class TokenTrunk(nnx.Module):
    """A token for each seen keypoint, attention among them, their mean, and a hidden layer."""

    def __init__(self, config: LifterConfig, *, rngs: nnx.Rngs):
        self.config = config
        width = config.token_width
        self.stem = dense(3, width, rngs)
        self.names = nnx.Param(jax.random.normal(rngs.params(), (config.n_points, width)))
        self.layers = nnx.List([Layer(width, config.heads, False, rngs=rngs) for _ in range(config.layers)])
        self.norm = nnx.LayerNorm(width, rngs=rngs)
        self.last = dense(width, config.width, rngs)
        if config.context:
            self.context = dense(config.context, width, rngs)

    def __call__(
        self,
        points: Float[Array, "*batch point 2"],
        seen: Float[Array, "*batch point"],
        context: Float[Array, "*batch number"] | None,
    ) -> Float[Array, "*batch width"]:
        """Features; the mean weighs a token as its point is `seen`."""
        *batch, n, _ = points.shape
        points, seen = points.reshape(-1, n, 2), seen.reshape(-1, n)
        # the points of the largest weight: a sample sees no more of them than its category has
        weights, which = jax.lax.top_k(seen, self.config.members or n)
        xy = jnp.take_along_axis(points, which[..., None], 1)
        h = self.stem(jnp.concatenate([xy, weights[..., None]], -1)) + self.names[...][which]
        if context is not None:
            h = h + self.context(context).reshape(len(h), 1, -1)
        for layer in self.layers:
            h = layer(h, 0.0, mask=weights > 0)
        total = jnp.maximum(jnp.sum(weights, -1, keepdims=True), 1e-6)
        mean = jnp.einsum("bt,btw->bw", weights / total, self.norm(h))
        return jax.nn.relu(self.last(mean)).reshape(*batch, -1)


class Lifter(nnx.Module):
    """Landmarks to shape and camera. See the module docstring."""

    def __init__(self, config: LifterConfig, *, rngs: nnx.Rngs):
        self.config = config
        n = config.n_points
        self.trunk: Trunk | TokenTrunk = (
            Trunk(3 * n + config.context, config, rngs=rngs)
            if config.trunk == "residual"
            else TokenTrunk(config, rngs=rngs)
        )
        self.pose = _linear(config.width, _NUMBERS[config.rotation], rngs)
        if config.basis:
            self.coefficients = _linear(config.width, config.basis, rngs)
            self.basis = nnx.Param(_WEIGHTS(rngs.params(), (config.basis, 3 * n)))
        if config.nonnegative:
            self.apex = nnx.Param(_WEIGHTS(rngs.params(), (3 * n,)))

    def __call__(
        self,
        points: Float[Array, "*batch point 2"],
        seen: Float[Array, "*batch point"],
        mode: Mode,
        context: Float[Array, "*batch number"] | None = None,
    ) -> Lifted:
        """Lift centred `points`; where `seen` (weights in [0, 1]) is 0, what is stored must be 0. `context` of the
        image; None: 0."""
        batch = points.shape[:-2]
        if self.config.context and context is None:
            context = jnp.zeros((*batch, self.config.context))
        context = context if self.config.context else None
        if isinstance(self.trunk, TokenTrunk):
            h = self.trunk(points, seen, context)
        else:
            x = [points.reshape(*batch, -1), seen]
            h = self.trunk(jnp.concatenate(x if context is None else [*x, context], -1), mode)
        rotation = rotation_from(self.pose(h), self.config.rotation)
        if not self.config.basis:
            return Lifted(None, rotation, None)
        code = self.coefficients(h)
        code = jax.nn.relu(code) if self.config.nonnegative else code
        return Lifted(self.shape(code), rotation, code)

    def shape(self, code: Float[Array, "*batch basis"]) -> Float[Array, "*batch point 3"]:
        """The shape of coefficients."""
        x = code @ self.basis[...]
        x = x + self.apex[...] if self.config.nonnegative else x
        return x.reshape(*code.shape[:-1], self.config.n_points, 3)


class Canonizer(nnx.Module):
    """A turned shape to the coefficients of the same shape unturned (over the basis of the lifter)."""

    def __init__(self, config: LifterConfig, *, rngs: nnx.Rngs):
        self.trunk = Trunk(3 * config.n_points, config, rngs=rngs)
        self.coefficients = _linear(config.width, config.basis, rngs)

    def __call__(self, shape: Float[Array, "*batch point 3"], mode: Mode) -> Float[Array, "*batch basis"]:
        """Coefficients."""
        return self.coefficients(self.trunk(shape.reshape(*shape.shape[:-2], -1), mode))


def rotation_from(numbers: Float[Array, "*batch number"], kind: RotationKind) -> Float[Array, "*batch 3 3"]:
    """Rotation of a head's output: the exponential map of three numbers, or the nearest rotation to the identity plus
    a 3 x 3 matrix ("9d"), or plus its first two columns, the third by the cross product ("6d")."""
    if kind == "exponential":
        return axis_angle_to_matrix(numbers)
    columns = numbers.shape[-1] // 3
    m = numbers.reshape(*numbers.shape[:-1], 3, columns) + jnp.eye(3, columns, dtype=numbers.dtype)
    return project_to_so3(m) if kind == "9d" else complete_rotation(project_to_stiefel(m))
