"""
Your own method in one file
===========================

A solver is one function. The harness does the rest: it checks and cleans the input, scores under named protocols, makes
the quality report and the page.
"""

import dataclasses
from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import jnrsfm
from jnrsfm import datasets
from jnrsfm.factorization import measure, reconstruction, recover_cameras
from jnrsfm.methods import METHODS, Fitted, MethodInfo


@dataclasses.dataclass(frozen=True)
class Cardboard:
    """Settings: each is a field with a default and a line of its own; the command line shows them."""

    thickness: float = 1.0
    """Factor on all depths."""


# %%
# The idea: the mean shape under each frame's camera gives the depths, the image gives x and y. Three lines of it are
# the method; ``measure``, ``recover_cameras`` and ``reconstruction`` are what all solvers share.


def fit(landmarks, camera, config, seed, session):
    """Depths of the mean shape, x and y of the image."""
    data = measure(landmarks, camera, rank=1)
    rotations, _, margin = recover_cameras(data, 3, "constant")
    flat = rotations[:, :2].reshape(-1, 3)
    mean = np.linalg.lstsq(flat, data.points.reshape(len(flat), -1), rcond=None)[0]
    seen = np.concatenate([data.points, config.thickness * (rotations[:, 2:] @ mean)], 1)
    shapes = np.swapaxes(seen, 1, 2) @ rotations
    return Fitted(reconstruction(landmarks, camera, data, shapes, rotations, margin))


METHODS["cardboard"] = MethodInfo(
    name="cardboard", kind="solver", summary="the mean shape's depths", cameras=("orthographic",), missing=True,
    needs_order=False, unseen=False, source="this page", config=Cardboard, fit=fit, state="experimental",
)  # fmt: skip

# %%
# In the library itself the entry is one line of ``jnrsfm/methods/__init__.py``. Now it is a method like any other.

landmarks, truth = datasets.make(
    "walker",
    seed=4,
    frames=90,
    clips=1,
    camera="orthographic",
    view="orbit",
    degrees_per_frame=4.0,
    missing=0.1,
)
result = jnrsfm.fit(landmarks, Cardboard(), out=Path(mkdtemp()) / "run", reference=truth, progress=False)
print(f"verdict {result.quality['verdict']['text']}")
for method in (Cardboard(), "rigid"):
    score = jnrsfm.fit(landmarks, method, reference=truth, progress=False).scores["one-mirror"]
    print(f"{method}: {score['normalized_error']:.1%}")
del METHODS["cardboard"]

# %%
# What a method for the library needs besides its file is on :doc:`/adding_a_method`.
