"""`reconstruction.npz`: a `Reconstruction`, key by key, readable as landmarks too (its reprojection)."""

import numpy as np

from jnrsfm.errors import InputError
from jnrsfm.io.fields import frames_text
from jnrsfm.io.npz import load_fields, reconstruction_arrays
from jnrsfm.io.schema import reference_from_fields
from jnrsfm.runs import write_arrays
from jnrsfm.types import Reconstruction


def write_reconstruction(path, reconstruction: Reconstruction) -> None:
    """Write a reconstruction as npz: the keys are the fields' names, and `points2d` the reprojection.

    `points3d (F, P, 3)`, `rotations (F, 3, 3)`, `translations (F, 3)`, `scale (F,)`, `intrinsics`, `camera`
    (the model), `visible`, `score`, `deviation`, `valid3d`, `sequence`, `category`, `categories`, `mirror`,
    `mirror_margin`, `gauge`, `names`, `edges`, `symmetric`; what is None is left out. The file appears at
    once or not at all. Raises InputError where it cannot be written or holds non-finite values.
    """
    r = reconstruction
    points = np.asarray(r.points3d)
    known = np.ones(points.shape[:2], bool) if r.valid3d is None else np.asarray(r.valid3d)
    bad = (~np.isfinite(points).all(-1) & known).any(1) | ~np.isfinite(np.asarray(r.rotations)).all((1, 2))
    if bad.any():
        raise InputError(f"{path}: not written, {frames_text(bad)}: points3d or rotations are not finite")
    write_arrays(path, reconstruction_arrays(r))


def read_reconstruction(path) -> Reconstruction:
    """Read what `write_reconstruction` wrote (or any npz with `points3d` and `rotations`).

    Raises InputError naming file and key. `mirror` and `gauge` are `"none"` and `""` where absent.
    """
    fields = load_fields(path)
    fields.require("points3d", hint=": a reconstruction has (frame, point, 3)")
    fields.require("rotations", hint=": a reconstruction has one (3, 3) a frame")
    absent = {"mirror": "none", "gauge": "", "valid3d": None}
    defaults = {k: v for k, v in absent.items() if k not in fields}
    if "valid3d" not in fields:
        fields.floats("points3d", ("F", "P", 3))
    # The reprojection says nothing new, and near z = 0 it may not be finite.
    fields.arrays = {k: v for k, v in fields.arrays.items() if k != "points2d"}
    reconstruction = reference_from_fields(fields)
    assert reconstruction is not None
    return reconstruction.replace(**defaults)
