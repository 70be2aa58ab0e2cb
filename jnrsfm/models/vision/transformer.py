r"""A transformer of keypoint queries: an image to where its object's keypoints are, which they are, and of what object.

    tokens: the backbone's maps, joined at the finer of the last two strides, with 2D sine positions
    encoder: h + attention(LN h), h + MLP(LN h);   decoder: queries attend to each other and to the tokens
    keypoint query q: place, spread, type (one of the largest category's keypoints, or none), seen or not
    context query: category, context vector

The place of a query is the mean over a map of its own, the softmax of its product with a finer map of the image, and a
correction by a linear map: learning where to look is far quicker than learning to write coordinates ("heatmap"; the
plain linear map of the papers is "linear"). What a query looks for is its own vector and, as likely as it thinks each
keypoint of each category, the vector of that keypoint: these have maps of the image too, which a loss on the labels
teaches without waiting for queries and matching. Every decoder layer has outputs, which the last one's heads make.

Source: Carion et al., End-to-end object detection with transformers, ECCV 2020 (pre-norm form); Can et al., End-to-End
Learning of Multi-category 3D Pose and Shape Estimation, 2021, section 4.1 (keypoint types, context query). The map of a
query is ours.
"""

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from jnrsfm.errors import InputError
from jnrsfm.models.attention import Layer, dense
from jnrsfm.models.vision.backbone import Backbone, BackboneConfig, conv
from jnrsfm.models.vision.heads import enlarged

PlaceKind = Literal["heatmap", "linear"]
REACH = 0.625
"""Places lie between minus and plus this in x and y (crop units)."""
_BACKBONE = BackboneConfig()


@dataclasses.dataclass(frozen=True)
class KeypointTransformerConfig:
    """`n_types`: keypoints of the largest category; `n_categories`; `size` of the patch; the backbone; `queries`;
    `width`, `heads` and layers of the transformer; `context`: numbers of the context vector; how places are found."""

    n_types: int
    n_categories: int
    size: int = 64
    backbone: BackboneConfig = _BACKBONE
    queries: int = 24
    width: int = 128
    heads: int = 4
    encoder: int = 2
    decoder: int = 3
    context: int = 32
    place: PlaceKind = "heatmap"

    def __post_init__(self):
        """Raise InputError for what is no network."""
        if self.size % self.backbone.stride:
            raise InputError(
                f"size is {self.size}: it must divide by {self.backbone.stride}, the stride of the backbone"
            )
        if self.width % self.heads or self.width % 4:
            raise InputError(f"width is {self.width}: it must divide by 4 and by heads, {self.heads}")
        if self.queries < self.n_types or min(self.n_types, self.n_categories, self.decoder) < 1:
            raise InputError(
                f"queries is {self.queries} for {self.n_types} keypoint types, {self.n_categories} categories and "
                f"{self.decoder} decoder layers: give at least one query for each type, and one layer"
            )


class Proposals(NamedTuple):
    """What the queries propose; leading axes (layer, image) or (image).

    `place (*batch, query, 2)` in crop units and its Laplace `spread`; `types (*batch, query, type + 1)` logits, the
    last "none"; `seen (*batch, query)` logit of being visible; `category (*batch, category)` logits; `context (*batch,
    number)`; `look (*batch, query, y, x)` logits of the maps, or None; `known (*batch, category, type, y, x)` logits of
    the maps of the keypoints themselves, or None.
    """

    place: Any
    spread: Any
    types: Any
    seen: Any
    category: Any
    context: Any
    look: Any = None
    known: Any = None


def sine_positions(side: int, width: int) -> Float[Array, "token width"]:
    """`(side^2, width)`: sines and cosines of x and y at wavelengths from two tokens to twenty maps."""
    quarter = width // 4
    period = 2.0 * (20.0 * side) ** (jnp.arange(quarter) / max(quarter - 1, 1))
    angle = 2 * jnp.pi * jnp.arange(side)[:, None] / period  # (side, quarter)
    waves = jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], -1)
    x = jnp.broadcast_to(waves[None], (side, side, 2 * quarter))
    y = jnp.broadcast_to(waves[:, None], (side, side, 2 * quarter))
    return jnp.concatenate([y, x], -1).reshape(side * side, width)


class KeypointTransformer(nnx.Module):
    """Patches in [0, 255] to `Proposals`. See the module docstring."""

    def __init__(self, config: KeypointTransformerConfig, *, rngs: nnx.Rngs):
        c = self.config = config
        widths = c.backbone.widths
        self.backbone = Backbone(c.backbone, rngs=rngs)
        one = lambda w: conv(w, c.width, size=1, bias=True, rngs=rngs)
        self.laterals = nnx.List([one(w) for w in widths])
        self.fine = one(c.width)
        self.encoder = nnx.List([Layer(c.width, c.heads, False, rngs=rngs) for _ in range(c.encoder)])
        self.decoder = nnx.List([Layer(c.width, c.heads, True, rngs=rngs) for _ in range(c.decoder)])
        self.norms = nnx.List([nnx.LayerNorm(c.width, rngs=rngs) for _ in range(2)])  # of tokens, of outputs
        self.queries = nnx.Param(0.3 * jax.random.normal(rngs.params(), (c.queries + 1, c.width)))
        self.look = dense(c.width, c.width, rngs)
        self.keypoints = nnx.Param(
            jax.random.normal(rngs.params(), (c.n_categories, c.n_types, c.width)) * c.width**-0.5
        )
        small = lambda outputs: nnx.Linear(
            c.width, outputs, kernel_init=jax.nn.initializers.normal(0.02), rngs=rngs
        )
        self.place, self.spread, self.seen = small(2), small(2), small(1)
        self.types, self.category, self.context = (
            small(c.n_types + 1),
            small(c.n_categories),
            small(c.context),
        )

    def __call__(self, images: Float[Array, "batch size size 3"], mask: Any = None) -> Proposals:
        """Proposals of every decoder layer, leading axis layer. `mask (batch, token)` bool: parts of the patch that may
        be looked at (tokens row by row; None: all)."""
        c = self.config
        maps = self.backbone(images).maps
        h: Any = None
        joined = []  # from coarse to fine
        for lateral, one in reversed(list(zip(self.laterals, maps, strict=True))):
            h = lateral(one) if h is None else enlarged(h) + lateral(one)
            joined.append(h)
        coarse = joined[min(1, len(joined) - 1)]
        side, batch = coarse.shape[1], coarse.shape[0]
        positions = sine_positions(side, c.width)
        tokens = coarse.reshape(batch, side * side, c.width)
        for layer in self.encoder:
            tokens = layer(tokens, positions, mask=mask)
        tokens = self.norms[0](tokens)
        # what was learned of the whole image goes into the fine map
        fine = joined[-1]
        back = tokens.reshape(batch, side, side, c.width)
        while back.shape[1] < fine.shape[1]:
            back = enlarged(back)
        fine = self.fine(jax.nn.relu(fine + back))

        names = jnp.broadcast_to(self.queries[...], (batch, c.queries + 1, c.width))
        h = jnp.zeros_like(names)
        outputs = []
        for layer in self.decoder:
            h = layer(h, names, tokens, positions, mask)
            outputs.append(self.norms[1](h))
        return self._heads(jnp.stack(outputs), fine, mask)

    def _heads(self, h, fine, mask) -> Proposals:
        """`h (layer, batch, query, width)`: the last query is that of the context."""
        c, points, side = self.config, h[..., :-1, :], fine.shape[1]
        place, look, known = self.place(points), None, None
        types, category = self.types(points), self.category(h[..., -1, :])
        if c.place == "heatmap":
            vectors = self.keypoints[...]
            known = jnp.einsum("ctw,byxw->bctyx", vectors, fine)
            known = jnp.broadcast_to(known, (len(h), *known.shape))
            # where to look must not change what is claimed
            chance = jax.lax.stop_gradient(jax.nn.softmax(types, -1)[..., :-1])
            kind = jax.lax.stop_gradient(jax.nn.softmax(category, -1))
            own = jnp.einsum("lbqt,lbc,ctw->lbqw", chance, kind, vectors)
            look = jnp.einsum("lbqw,byxw->lbqyx", own + self.look(points) * c.width**-0.5, fine)
            weight = jax.nn.softmax(look.reshape(*look.shape[:3], -1), -1).reshape(look.shape)
            at = (jnp.arange(side) + 0.5) / side - 0.5
            mean = jnp.stack([weight.sum(-2) @ at, weight.sum(-1) @ at], -1)
            place = mean + 0.2 * jnp.tanh(place)
        else:
            place = REACH * jnp.tanh(place)
        still = jax.lax.stop_gradient(points)
        spread = jnp.exp(jnp.clip(self.spread(still) - 3.0, -7, 1))
        context = self.context(h[..., -1, :])
        return Proposals(
            place, spread, types, self.seen(still)[..., 0], category, context, look, known
        )  # fmt: skip
