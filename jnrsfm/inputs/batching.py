"""Frames in blocks: what bounds memory outside training, whatever the size of the set."""

from typing import Any

import jax
import numpy as np

BLOCK = 4096  # frames at a time, outside training


def blocks(data: Any, size: int = BLOCK) -> Any:
    """`(block, frame, ...)` view of a pytree of frames; the last block is filled up with its last frame."""
    n = len(jax.tree.leaves(data)[0])
    size = min(size, n)
    count = -(-n // size)
    which = np.minimum(np.arange(count * size), n - 1)
    return jax.tree.map(lambda x: x[which].reshape(count, size, *x.shape[1:]), data)
