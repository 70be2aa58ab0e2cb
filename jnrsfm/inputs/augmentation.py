"""Changes of a training batch that leave its 3D as it is."""

import jax
import jax.numpy as jnp


def rolled(images, key, most: float):
    """Images, each `(frame, point, 2)`, turned about the origin, each frame by its own uniform angle up to `most`
    degrees. The origin is the object's middle, or the axis of the virtual camera: a roll of the camera, in both
    models."""
    first = images[0]
    angle = jnp.deg2rad(most) * jax.random.uniform(key, first.shape[:1], first.dtype, -1, 1)
    c, s = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    turn = lambda a: jnp.stack([c * a[..., 0] - s * a[..., 1], s * a[..., 0] + c * a[..., 1]], -1)
    return tuple(turn(image) for image in images)
