r"""Cameras: projections, pixels to rays, and the virtual camera that looks at the object.

Points are rows; `x_cam = R @ x + t` with x right, y down, z forward (OpenCV). Every function takes leading
batch axes.
"""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float


def project_orthographic(points: Float[ArrayLike, "*batch point 3"]) -> Float[Array, "*batch point 2"]:
    """Orthographic image of camera-frame points: their x and y."""
    points = jnp.asarray(points)
    return points[..., :2]


def project_perspective(
    points: Float[ArrayLike, "*batch point 3"], intrinsics: Float[ArrayLike, "*batch 3 3"] | None = None
) -> Float[Array, "*batch point 2"]:
    r"""Pinhole image `(K x)_{xy} / (K x)_z` of camera-frame points; `K = I` gives ray coordinates (x/z, y/z).

    Depth must not be zero; points behind the camera project through the centre as in any pinhole formula.
    """
    points = jnp.asarray(points)
    if intrinsics is not None:
        points = jnp.einsum("...pj,...ij->...pi", points, intrinsics)
    return points[..., :2] / points[..., 2:]


def pixels_to_rays(
    pixels: Float[ArrayLike, "*batch point 2"], intrinsics: Float[ArrayLike, "*#batch 3 3"]
) -> Float[Array, "*batch point 2"]:
    r"""Ray coordinates `(u, v) = (K^{-1} [x, y, 1])_{xy}` of pixels, for upper-triangular K with `K[2, 2] = 1`.

    Written out for `K = [[fx, s, cx], [0, fy, cy], [0, 0, 1]]`: `v = (y - cy) / fy`, `u = (x - cx - s v) / fx`.
    """
    pixels, intrinsics = jnp.asarray(pixels), jnp.asarray(intrinsics)
    k = intrinsics[..., None, :, :]
    v = (pixels[..., 1] - k[..., 1, 2]) / k[..., 1, 1]
    u = (pixels[..., 0] - k[..., 0, 2] - k[..., 0, 1] * v) / k[..., 0, 0]
    return jnp.stack([u, v], -1)


def look_at(direction: Float[ArrayLike, "*batch 3"]) -> Float[Array, "*batch 3 3"]:
    r"""The smallest rotation G with `G d / |d| = (0, 0, 1)`: a virtual camera that looks along `d`.

    For a unit `d = (a, b, c)`, `c > -1`:

        G = [[1 - a^2/(1+c), -ab/(1+c), -a], [-ab/(1+c), 1 - b^2/(1+c), -b], [a, b, c]].

    The directions of image points have c > 0, so the formula is never near its singularity at c = -1.
    """
    direction = jnp.asarray(direction)
    a, b, c = jnp.moveaxis(direction / jnp.linalg.norm(direction, axis=-1, keepdims=True), -1, 0)
    h = 1.0 / (1.0 + c)
    rows = [[1 - a * a * h, -a * b * h, -a], [-a * b * h, 1 - b * b * h, -b], [a, b, c]]
    return jnp.stack([jnp.stack(row, -1) for row in rows], -2)


def rotate_rays(
    rays: Float[ArrayLike, "*batch point 2"], rotation: Float[ArrayLike, "*batch 3 3"]
) -> Float[Array, "*batch point 2"]:
    r"""Ray coordinates seen by a camera turned by `rotation` about its centre: the homography `G [u, v, 1]`.

    Turning a camera about its centre is exact for every scene, whatever the depths; undo it on camera-frame
    points with `points @ G` (that is `G.T @ x`).
    """
    rays, rotation = jnp.asarray(rays), jnp.asarray(rotation)
    x = jnp.einsum("...pj,...ij->...pi", rays, rotation[..., :2]) + rotation[..., None, :, 2]
    return x[..., :2] / x[..., 2:]
