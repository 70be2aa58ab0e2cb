r"""From the world to the coordinates of a field, and back: a box, a contracted world, or normalised device coordinates.

A field lives in the cube [-1, 1]^3. Which part of the world that is depends on how it was filmed:

* `box`: `u = (x - c) / s`, for objects that cameras surround;
* `contracted`: with `v = (x - c) / s`, `u = v / 2` within the unit ball and `u = (2 - 1/|v|) v / (2 |v|)` outside:
  metric near c, all of space in the ball of radius one. Barron et al., CVPR 2022, eq. 10;
* `ndc`: with `y = R^T (x - c)` in a reference camera, `u = (y_x / (a y_z), y_y / (b y_z), 1 - 2 n / y_z)`, for views
  that face forward: everything from depth n to infinity, even in disparity; straight lines stay straight.
  Mildenhall et al., ECCV 2020, appendix C, in OpenCV axes.
"""

import dataclasses
from typing import Literal

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jnrsfm.errors import InputError

Kind = Literal["box", "contracted", "ndc"]
_LEAST = 1e-6


@dataclasses.dataclass(frozen=True)
class SceneSpace:
    """The map of a scene, of plain numbers. `centre` c; `scale` s of `box` and `contracted`, the nearest depth n of
    `ndc`; `turn`: rows of R, `tangent`: (a, b), of `ndc`."""

    kind: Kind = "box"
    centre: tuple[float, ...] = (0.0, 0.0, 0.0)
    scale: float = 1.0
    turn: tuple[tuple[float, ...], ...] = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
    tangent: tuple[float, ...] = (1.0, 1.0)

    def __post_init__(self):
        """Raise InputError for a kind that there is not, and for a scale that is not above 0."""
        if self.kind not in ("box", "contracted", "ndc"):
            raise InputError(f"space is {self.kind!r}: choose box, contracted or ndc")
        if not self.scale > 0:
            raise InputError(f"the scale of the scene is {self.scale}: it must be above 0")

    def field_from_world(self, points: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
        """Field coordinates of world points."""
        v = points - jnp.asarray(self.centre, points.dtype)
        if self.kind == "ndc":
            y = v @ jnp.asarray(self.turn, points.dtype)
            depth = jnp.maximum(y[..., 2:], _LEAST)
            xy = y[..., :2] / (depth * jnp.asarray(self.tangent, points.dtype))
            return jnp.concatenate([xy, 1 - 2 * self.scale / depth], -1)
        v = v / self.scale
        if self.kind == "box":
            return v
        square = (v * v).sum(-1, keepdims=True)
        norm = jnp.sqrt(jnp.maximum(square, 1.0))  # inside, its gradient is not asked for
        return 0.5 * v * (2 - 1 / norm) / norm

    def world_from_field(self, points: Float[Array, "*batch 3"]) -> Float[Array, "*batch 3"]:
        """World points of field coordinates. What lies at infinity is put far away."""
        centre = jnp.asarray(self.centre, points.dtype)
        if self.kind == "ndc":
            depth = 2 * self.scale / jnp.maximum(1 - points[..., 2:], 1e-4)
            xy = points[..., :2] * depth * jnp.asarray(self.tangent, points.dtype)
            return jnp.concatenate([xy, depth], -1) @ jnp.asarray(self.turn, points.dtype).T + centre
        if self.kind == "box":
            return points * self.scale + centre
        v = 2 * points
        square = (v * v).sum(-1, keepdims=True)
        norm = jnp.sqrt(jnp.maximum(square, 1.0))
        return v / (norm * jnp.maximum(2 - norm, 1e-3)) * self.scale + centre


def forward_facing(camera_to_world: np.ndarray, tangent: tuple[float, float], near: float) -> SceneSpace:
    """`ndc` around the mean of cameras `(frame, 3, 4)`: mean place, mean axes made orthogonal; `near` from there.

    `tangent`: half width and half height of an image over the focal length. It is widened so that what any camera sees
    at `near` lies inside. Raises InputError where the axes of the cameras cancel.
    """
    poses = np.asarray(camera_to_world, np.float64)
    u, s, vt = np.linalg.svd(poses[..., :3].mean(0))
    if s[-1] < 0.2:
        raise InputError(
            "the cameras face all ways: ndc is for views that face forward, use box or contracted"
        )
    turn, centre = u @ np.diag([1, 1, np.linalg.det(u @ vt)]) @ vt, poses[..., 3].mean(0)
    corners = np.array([[a * tangent[0], b * tangent[1], 1.0] for a in (-1, 1) for b in (-1, 1)])
    seen = np.concatenate(
        [(poses[:, None, :, 3] + (z * corners) @ poses[..., :3].mT - centre) @ turn for z in (near, 4 * near)]
    )
    wide = np.abs(seen[..., :2] / np.maximum(seen[..., 2:], 0.2 * near)).reshape(-1, 2).max(0)
    return SceneSpace(
        "ndc", tuple(map(float, centre)), float(near), tuple(tuple(map(float, r)) for r in turn),
        (float(wide[0]), float(wide[1])),
    )  # fmt: skip
