"""Layers of transformers: attention of tokens to tokens, and a perceptron on each.

    h + attention(LN h),   h + attention(LN h, tokens) (in a decoder),   h + W2 ReLU(W1 LN h)

Source: Vaswani et al., Attention is all you need, NeurIPS 2017; pre-norm form: Xiong et al., ICML 2020.
"""

from typing import Any

import jax
from flax import nnx
from jaxtyping import Array, Float


def dense(inputs: int, outputs: int, rngs: nnx.Rngs) -> nnx.Linear:
    """A linear map with weights uniform as of Glorot and Bengio."""
    return nnx.Linear(inputs, outputs, kernel_init=jax.nn.initializers.xavier_uniform(), rngs=rngs)


class Attention(nnx.Module):
    """Multi-head attention of `queries` to `tokens`; positions are added to queries and keys, not to values."""

    def __init__(self, width: int, heads: int, *, rngs: nnx.Rngs):
        self.heads = heads
        self.query, self.key, self.value, self.out = (dense(width, width, rngs) for _ in range(4))

    def __call__(
        self,
        queries: Float[Array, "batch query width"],
        keys: Float[Array, "batch token width"],
        values: Float[Array, "batch token width"],
        mask: Any = None,
    ) -> Float[Array, "batch query width"]:
        """`mask (batch, token)` bool: tokens that may be looked at (None: all)."""
        split = lambda x: x.reshape(*x.shape[:-1], self.heads, -1)
        q, k, v = split(self.query(queries)), split(self.key(keys)), split(self.value(values))
        mask = None if mask is None else mask[:, None, None, :]
        found = jax.nn.dot_product_attention(q, k, v, mask=mask)
        return self.out(found.reshape(queries.shape))


class Layer(nnx.Module):
    """A pre-norm layer: attention among `h`, in a decoder attention to the tokens, and a perceptron."""

    def __init__(self, width: int, heads: int, decoder: bool, *, rngs: nnx.Rngs):
        count = 3 if decoder else 2
        self.norms = nnx.List([nnx.LayerNorm(width, rngs=rngs) for _ in range(count)])
        self.own = Attention(width, heads, rngs=rngs)
        self.cross = Attention(width, heads, rngs=rngs) if decoder else None
        self.up, self.down = dense(width, 2 * width, rngs), dense(2 * width, width, rngs)

    def __call__(self, h, positions, tokens=None, places=None, mask=None):
        """`positions` of h; a decoder's `tokens` and their `places`, and which of them may be looked at."""
        x = self.norms[0](h)
        # an encoder's mask is that of its own tokens, a decoder's that of the tokens it looks at
        h = h + self.own(x + positions, x + positions, x, mask if self.cross is None else None)
        if self.cross is not None:
            h = h + self.cross(self.norms[1](h) + positions, tokens + places, tokens, mask)
        return h + self.down(jax.nn.relu(self.up(self.norms[-1](h))))
