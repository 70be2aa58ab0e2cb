"""Where batches come from: a set on the device (`Resident`), or a reader of any length (`Streamed`).

Both are functions of the step alone: the same seed and step give the same batch, whatever ran before, so that a
training resumed at a step goes on as if it had not stopped. Over the devices of a mesh a set is split, not copied: a
batch is put together from the parts that hold its items, and its items are shared out.
"""

import threading
from collections.abc import Callable, Generator
from queue import Full, Queue
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jnrsfm.errors import InputError

PyTree = Any
BLOCK = 4096  # items at a time, outside training: bounds memory whatever the set


class Source(Protocol):
    """What the engine asks of a source: its length, and the number of items in a batch (0: all of them)."""

    @property
    def length(self) -> int:
        """Number of items."""
        ...

    @property
    def judged(self) -> int:
        """Number of items, the first ones, over which restarts are judged."""
        ...

    batch: int
    block: int


class Resident:
    """Items in memory: a pytree of arrays with one leading axis, put on the device once and gathered there.

    `batch`: items in a step, drawn at random with replacement; 0: all, in order. `block`: items at a time when the
    whole set is judged; `judge`: judge only this many, the first ones (0: all).
    """

    def __init__(self, data: PyTree, batch: int, block: int = BLOCK, judge: int = 0):
        self.data, self.batch, self.block, self.judge = data, batch, block, judge

    @property
    def length(self) -> int:
        """Number of items."""
        return len(jax.tree.leaves(self.data)[0])

    @property
    def judged(self) -> int:
        """Number of items, the first ones, over which restarts are judged."""
        return min(self.judge or self.length, self.length)

    def placed(self, mesh: Mesh | None) -> PyTree:
        """The data on the device, or split over the devices of a mesh (filled up with zeros, which nobody draws)."""
        if mesh is None:
            return self.data
        axis = mesh.axis_names[0]
        count = mesh.shape[axis]
        pad = -self.length % count
        sharding = NamedSharding(mesh, PartitionSpec(axis))

        def place(x):
            x = np.asarray(x)
            x = np.concatenate([x, np.zeros((pad, *x.shape[1:]), x.dtype)]) if pad else x
            return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

        return jax.tree.map(place, self.data)

    def frames(self, key: Any, step: Any) -> Any:
        """`(batch,)` numbers of the items of a step."""
        if not self.batch:
            return jnp.arange(self.length)
        return jax.random.randint(jax.random.fold_in(key, step), (self.batch,), 0, self.length)


def take(data: PyTree, frames: Any, mesh: Mesh | None) -> PyTree:
    """Items `frames (batch,)` of a pytree; of one that is split over a mesh, each device gives what it holds."""
    if mesh is None:
        return jax.tree.map(lambda x: x[frames], data)
    axis = mesh.axis_names[0]

    def part(data, frames):
        def one(x):
            local = frames - jax.lax.axis_index(axis) * len(x)
            mine = (local >= 0) & (local < len(x))
            values = x[jnp.clip(local, 0, len(x) - 1)]
            mine = mine.reshape(mine.shape + (1,) * (values.ndim - mine.ndim))
            if values.dtype == bool:
                return jax.lax.psum(jnp.where(mine, values, False).astype(jnp.int32), axis) > 0
            return jax.lax.psum(jnp.where(mine, values, 0), axis)

        return jax.tree.map(one, data)

    spec = PartitionSpec(axis)
    split = jax.shard_map(part, mesh=mesh, in_specs=(spec, PartitionSpec()), out_specs=PartitionSpec())
    return split(data, frames)


class Streamed:
    """Items that are read when they are needed, from disk or anywhere.

    `read(numbers) -> pytree` of NumPy arrays with leading axis item, for an increasing or any order of `numbers`; it
    must be a pure function. Each epoch goes through all `length` items in an order of its own (a function of `seed` and
    the epoch), and a batch is the next `batch` of them: batch k is a function of k. Without `shuffle` the order is that
    of the items. The batches of the next dispatch are read by a thread while the device works on this one's.
    """

    def __init__(
        self,
        read: Callable[[np.ndarray], PyTree],
        length: int,
        batch: int,
        *,
        seed: int = 0,
        block: int = BLOCK,
        shuffle: bool = True,
    ):
        if batch < 1 or length < batch:
            raise InputError(f"batch is {batch} of {length} items: a stream needs 1 to {length} in a step")
        self.read, self.batch, self.block, self.seed, self.shuffle = read, batch, block, seed, shuffle
        self._length = length
        self._order: tuple[int, np.ndarray] | None = None

    @property
    def length(self) -> int:
        """Number of items."""
        return self._length

    @property
    def judged(self) -> int:
        """All of them."""
        return self._length

    def numbers(self, step: int) -> np.ndarray:
        """`(batch,)` numbers of the items of a step. An epoch ends with its last whole batch."""
        each = self._length // self.batch
        epoch, place = divmod(step, each)
        if not self.shuffle:
            return np.arange(place * self.batch, (place + 1) * self.batch)
        if self._order is None or self._order[0] != epoch:
            rng = np.random.default_rng((self.seed, epoch))
            self._order = (epoch, rng.permutation(self._length).astype(np.int32))
        return self._order[1][place * self.batch : (place + 1) * self.batch]

    def chunk(self, first: int, count: int) -> PyTree:
        """Batches of the steps from `first`, stacked `(step, item, ...)`: of this process, its share of the items."""
        numbers = np.stack([self.numbers(first + i) for i in range(count)])
        share = self.batch // jax.process_count()
        numbers = numbers[:, jax.process_index() * share : (jax.process_index() + 1) * share]
        flat = self.read(numbers.reshape(-1))
        return jax.tree.map(lambda x: np.asarray(x).reshape(*numbers.shape, *np.shape(x)[1:]), flat)

    def ahead(self, spans: list[tuple[int, int]]) -> Generator[PyTree, None, None]:
        """The chunks of `(first, count)` spans, each read while the one before is used; an error comes out here."""
        queue: Queue = Queue(maxsize=1)
        stop = threading.Event()

        def put(item) -> None:
            while not stop.is_set():
                try:
                    return queue.put(item, timeout=0.1)
                except Full:  # look whether anybody still waits
                    continue

        def work() -> None:
            try:
                for first, count in spans:
                    if stop.is_set():
                        return
                    put((self.chunk(first, count), None))
            except BaseException as error:  # of the reader: to be raised where it is waited for
                put((None, error))

        thread = threading.Thread(target=work, daemon=True)
        thread.start()
        try:
            for _ in spans:
                chunk, error = queue.get()
                if error is not None:
                    raise error
                yield chunk
        finally:
            stop.set()
            thread.join()
