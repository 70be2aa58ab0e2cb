"""Errors of students: depth, MPJPE and PA-MPJPE of camera-frame points, in shares of the object's size; PCK of x, y."""

from typing import Any

import numpy as np

from jnrsfm.inputs import label_boxes
from jnrsfm.methods.student import pck
from jnrsfm.types import LabelledImages


def shape_errors(found: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """`depth`: mean |z - z*| of centred shapes, `mpjpe`: mean distance, `pa_mpjpe`: after the best rotation too; each
    image's shape scaled to the truth by least squares, one depth reflection for the set; `flat`: the depth error of
    flat shapes. In shares of the root mean square size of the true shapes."""
    x, g = (np.asarray(a, np.float64) for a in (found, truth))
    x, g = x - x.mean(1, keepdims=True), g - g.mean(1, keepdims=True)
    size = np.sqrt((g**2).sum(-1).mean())
    best: dict[str, float] = {}
    for sign in (1.0, -1.0):
        y = x * [1, 1, sign]
        y = y * ((y * g).sum((1, 2)) / np.maximum((y * y).sum((1, 2)), 1e-12))[:, None, None]
        one = {
            "depth": float(np.abs(y[..., 2] - g[..., 2]).mean() / size),
            "mpjpe": float(np.linalg.norm(y - g, axis=-1).mean() / size),
        }
        if not best or one["depth"] < best["depth"]:
            best = one
    u, _, vt = np.linalg.svd(np.einsum("fpi,fpj->fij", x, g))
    turn = u @ vt  # a reflection allowed, as in published tables
    y = x @ turn
    y = y * ((y * g).sum((1, 2)) / np.maximum((y * y).sum((1, 2)), 1e-12))[:, None, None]
    best["pa_mpjpe"] = float(np.linalg.norm(y - g, axis=-1).mean() / size)
    best["flat"] = float(np.abs(g[..., 2]).mean() / size)
    return best


def point_errors(found2d: np.ndarray, truth2d: np.ndarray, images: LabelledImages) -> dict[str, float]:
    """PCK at a tenth and a twentieth of the longer side of the box, over labelled points."""
    visible = np.asarray(images.landmarks.visible, np.float64)
    distance = np.linalg.norm(np.asarray(found2d) - np.where(visible[..., None] > 0, truth2d, 0), axis=-1)
    boxes = label_boxes(images)
    return {f"pck_{s:g}": pck(distance, boxes, visible, s) for s in (0.1, 0.05)}


def report(found: Any, truth3d: np.ndarray, truth2d: np.ndarray, images: LabelledImages) -> dict[str, float]:
    """All of them of a reconstruction."""
    return shape_errors(found.camera_points, truth3d) | point_errors(found.points2d, truth2d, images)
