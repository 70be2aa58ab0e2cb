"""Checkpoints of a training phase, by Orbax: written whole or not at all, the last two kept.

The state is stored as its flat list of arrays, so that restoring needs only the structure that a fresh start
has, and not the number of restarts alive when it was saved. Nothing is unpickled.
"""

from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from jnrsfm.errors import InputError


class Checkpoints:
    """The checkpoints of one phase in a folder; without a folder, does nothing."""

    def __init__(self, folder: Path | None, mesh: jax.sharding.Mesh | None = None):
        self.folder = None if folder is None else Path(folder).absolute()
        self.mesh = mesh
        self._manager: ocp.CheckpointManager | None = None
        if self.folder is not None:
            options = ocp.CheckpointManagerOptions(max_to_keep=2, create=True)
            handler = ocp.StandardCheckpointHandler()  # named, so that shapes can be asked of a checkpoint
            self._manager = ocp.CheckpointManager(self.folder, options=options, item_handlers=handler)

    def save(self, step: int, state: Any) -> None:
        """Begin to write the state of a step; an earlier write is waited for."""
        if self._manager is None or step in self._manager.all_steps():
            return
        leaves = {f"{i:04d}": self._to_save(x) for i, x in enumerate(jax.tree.leaves(state))}
        try:
            self._manager.save(step, args=ocp.args.StandardSave(leaves))
        except OSError as error:
            raise InputError(
                f"{self.folder}: cannot write a checkpoint ({error.strerror or error}): make room"
            ) from error

    def restore(self, structure: Any) -> tuple[int, Any] | None:
        """The latest step and state, in the structure of `structure`, or None where there is none.

        Raises InputError, one line, where the latest checkpoint is damaged.
        """
        if self._manager is None or self.folder is None:
            return None
        step = self._manager.latest_step()
        if step is None:
            return None
        treedef, count = jax.tree.structure(structure), len(jax.tree.leaves(structure))
        try:
            like = self._like(step)
            leaves = self._manager.restore(step, args=ocp.args.StandardRestore(like))
            if len(leaves) != count:
                raise ValueError("it belongs to other settings")
            arrays = [leaves[f"{i:04d}"] for i in range(count)]
        except Exception as error:  # Orbax and its storage raise many kinds; the user needs one line
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:120]
            raise InputError(
                f"{self.folder / str(step)}: checkpoint cannot be read ({reason}): delete that folder "
                "to resume from the one before"
            ) from error
        if jax.process_count() == 1:
            arrays = [np.asarray(a) for a in arrays]
        return step, jax.tree.unflatten(treedef, arrays)

    def latest(self) -> int:
        """The step of the latest checkpoint; 0 where there is none."""
        step = None if self._manager is None else self._manager.latest_step()
        return step or 0

    def _to_save(self, x: Any) -> Any:
        """One process writes from the host; several write what they hold of arrays that span them."""
        return np.asarray(x) if jax.process_count() == 1 else x

    def _like(self, step: int) -> Any:
        """Shapes and places of the arrays of a checkpoint, where several processes read it."""
        if jax.process_count() == 1 or self.mesh is None or self._manager is None:
            return None
        everywhere = jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec())
        kept = self._manager.item_metadata(step)
        return jax.tree.map(lambda m: jax.ShapeDtypeStruct(m.shape, m.dtype, sharding=everywhere), dict(kept))

    def close(self) -> None:
        """Wait for what is being written."""
        if self._manager is not None:
            self._manager.wait_until_finished()
            self._manager.close()
