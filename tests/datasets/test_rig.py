"""A rig of rendered cameras: poses, flow and surface points agree, and the moving camera is one of the rig's."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from jnrsfm.datasets.render import RenderedFigures, render_rig
from jnrsfm.errors import InputError
from jnrsfm.geometry import rays

CONFIG = RenderedFigures(images=4, clip=4, size=64, fps=24.0, travel=True, occluders=0.0, flow=True)


@pytest.mark.slow
def test_cameras_flow_and_surface_points_agree():
    rig = render_rig(CONFIG, cameras=3)
    scene = rig.scene(motion=True)
    assert (rig.cameras, len(scene), len(rig.held_out())) == (3, 4, 8)
    assert rig.where.tolist() == [0, 1, 2, 2]
    np.testing.assert_array_equal(rig.path.mask[1], rig.rig.mask[1 * 4 + 1])  # camera 1 at frame 1
    pixels = np.argwhere(rig.path.mask[1])[::9, ::-1]
    there = rig.path.carry(1, 2, pixels)
    seen = rays.project(
        jnp.asarray(scene.camera_to_world[2], jnp.float32), jnp.asarray(scene.intrinsics[2], jnp.float32),
        jnp.asarray(there, jnp.float32),
    )  # fmt: skip
    flow = scene.motion.forward[1][pixels[:, 1], pixels[:, 0]]
    np.testing.assert_allclose(np.asarray(seen) - pixels, flow, atol=1e-3)
    k, pose = scene.intrinsics[1], scene.camera_to_world[1]
    z = rig.path.depth[1][pixels[:, 1], pixels[:, 0]]
    origin, direction = rays.pixel_rays(
        *(jnp.asarray(np.repeat(x[None], len(pixels), 0)) for x in (pose, k)), jnp.asarray(pixels, float)
    )
    np.testing.assert_allclose(origin + z[:, None] * direction, rig.path.carry(1, 1, pixels), atol=1e-4)


@pytest.mark.fast
def test_a_rig_films_one_clip():
    with pytest.raises(InputError, match="one clip"):
        render_rig(dataclasses.replace(CONFIG, images=8))
    with pytest.raises(InputError, match="at least 2"):
        render_rig(CONFIG, cameras=1)
