"""Several processes as one training: what they must agree on, and arrays that span them.

Every process runs the same program over the same phases; the devices of all are one mesh. `jax.distributed.initialize`
is the caller's (`docs/several_machines.md`).
"""

from collections.abc import Generator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnrsfm.training.sources import Streamed

PyTree = Any


def agreed(flag: bool, any_host: bool = False) -> bool:
    """The flag of the first process, or whether any process has it: the same answer on all."""
    if jax.process_count() == 1:
        return bool(flag)
    from jax.experimental import multihost_utils

    flags = np.asarray(multihost_utils.process_allgather(np.array([flag])))
    return bool(flags.any() if any_host else flags.reshape(-1)[0])


def replicated(tree: PyTree, mesh: Mesh | None) -> PyTree:
    """A pytree on every device of a mesh."""
    if mesh is None:
        return tree
    sharding = NamedSharding(mesh, PartitionSpec())
    if jax.process_count() == 1:
        return jax.device_put(tree, sharding)
    return jax.tree.map(
        lambda x: jax.make_array_from_callback(x.shape, sharding, lambda index: np.asarray(x)[index]), tree
    )


def batches(
    source: Streamed, spans: list[tuple[int, int]], size: int, mesh: Mesh | None
) -> Generator[PyTree, None, None]:
    """Chunks of a stream on the devices, read ahead; a short last one is filled up, so that one program serves all."""

    def place(x):
        short = size - len(x)
        x = np.concatenate([x, np.zeros((short, *x.shape[1:]), x.dtype)]) if short else x
        if mesh is None:
            return jax.device_put(x)
        sharding = NamedSharding(mesh, PartitionSpec(None, mesh.axis_names[0]))
        return jax.make_array_from_process_local_data(sharding, x)

    chunks = source.ahead(spans)
    try:
        for chunk in chunks:
            yield jax.tree.map(place, chunk)
    finally:
        chunks.close()
