"""Non-rigid structure from motion in JAX: 2D landmarks with gaps in, 3D shapes and cameras out, no 3D labels.

    import jnrsfm
    landmarks = jnrsfm.io.read_landmarks("my_landmarks.npz")
    result = jnrsfm.fit(landmarks, method="deep-nrsfm++", camera="orthographic", out="run")
    result.reconstruction.points3d  # (frame, point, 3)
    jnrsfm.load("run").lift(new_landmarks)

Names are looked up when they are first used, so that the command line answers before JAX is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jnrsfm import datasets as datasets
    from jnrsfm import io as io
    from jnrsfm import methods as methods
    from jnrsfm import metrics as metrics
    from jnrsfm.api import FitResult as FitResult
    from jnrsfm.api import demo as demo
    from jnrsfm.api import fit as fit
    from jnrsfm.api import lift as lift
    from jnrsfm.api import load as load
    from jnrsfm.api import write_run_report as write_run_report
    from jnrsfm.errors import InputError as InputError
    from jnrsfm.types import Cameras as Cameras
    from jnrsfm.types import Landmarks as Landmarks
    from jnrsfm.types import Reconstruction as Reconstruction

_ROOMS = ("datasets", "io", "methods", "metrics")
_HOME = {
    **dict.fromkeys(("FitResult", "demo", "fit", "lift", "load", "write_run_report"), "api"),
    **dict.fromkeys(("Cameras", "Landmarks", "Reconstruction"), "types"),
    "InputError": "errors",
}
__all__ = [*_ROOMS, *_HOME]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jnrsfm.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"jnrsfm.{_HOME[name]}"), name)
    raise AttributeError(f"module 'jnrsfm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
