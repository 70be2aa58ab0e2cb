"""Non-rigid structure from motion in JAX: 2D landmarks with gaps in, 3D shapes and cameras out, no 3D labels.

    import jnrsfm
    landmarks = jnrsfm.read("my_landmarks.npz")
    result = jnrsfm.fit(landmarks, method="deep-nrsfm++", camera="orthographic", out="run")
    result.reconstruction.points3d  # (frame, point, 3)
    result.quality                  # what to expect of it, without ground truth
    jnrsfm.load("run").lift(new_landmarks)

Rooms by what they hold: `geometry`, `linalg`, `factorization`, `shape_prior`, `inputs`, `losses`, `models`, `training`,
`metrics`, `io`, `datasets`, `report`, `methods`. Names are looked up when they are first used, so that the command line
answers before JAX is imported.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jnrsfm import datasets as datasets
    from jnrsfm import factorization as factorization
    from jnrsfm import geometry as geometry
    from jnrsfm import inputs as inputs
    from jnrsfm import io as io
    from jnrsfm import linalg as linalg
    from jnrsfm import losses as losses
    from jnrsfm import methods as methods
    from jnrsfm import metrics as metrics
    from jnrsfm import models as models
    from jnrsfm import report as report
    from jnrsfm import shape_prior as shape_prior
    from jnrsfm import training as training
    from jnrsfm.api import FitResult as FitResult
    from jnrsfm.api import TrainedModel as TrainedModel
    from jnrsfm.api import fit as fit
    from jnrsfm.api import lift as lift
    from jnrsfm.api import load as load
    from jnrsfm.api import read as read
    from jnrsfm.api import write_run_report as write_run_report
    from jnrsfm.citations import cite as cite
    from jnrsfm.demos import demo as demo
    from jnrsfm.errors import InputError as InputError
    from jnrsfm.types import Cameras as Cameras
    from jnrsfm.types import LabelledImages as LabelledImages
    from jnrsfm.types import Landmarks as Landmarks
    from jnrsfm.types import Reconstruction as Reconstruction
    from jnrsfm.types import Result as Result
    from jnrsfm.types import ResultCode as ResultCode

    __version__: str

_ROOMS = (
    "datasets", "factorization", "geometry", "inputs", "io", "linalg", "losses", "methods", "metrics", "models",
    "report", "shape_prior", "training",
)  # fmt: skip
_HOME = {
    **dict.fromkeys(("FitResult", "TrainedModel", "fit", "lift", "load", "read", "write_run_report"), "api"),
    "cite": "citations",
    "demo": "demos",
    **dict.fromkeys(
        ("Cameras", "LabelledImages", "Landmarks", "Reconstruction", "Result", "ResultCode"), "types"
    ),
    "InputError": "errors",
}
__all__ = [*_ROOMS, *_HOME, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"jnrsfm.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"jnrsfm.{_HOME[name]}"), name)
    if name == "__version__":
        from importlib.metadata import PackageNotFoundError, version

        try:
            return version("jnrsfm")
        except PackageNotFoundError:  # run from its sources
            return "0+unknown"
    raise AttributeError(f"module 'jnrsfm' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
