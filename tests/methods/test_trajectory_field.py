"""Trajectory fields: laws of the field, a tiny fit, its views and paths, its file, its run."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jnrsfm
from jnrsfm import io
from jnrsfm.errors import InputError
from jnrsfm.geometry import SceneSpace, dct_displacement_basis
from jnrsfm.losses import field as losses
from jnrsfm.methods import TrajectoryFieldSettings, trajectory_field
from jnrsfm.methods.trajectory_field import preparing
from jnrsfm.models import field
from jnrsfm.pixels import ArrayPixels
from jnrsfm.scenes import DynamicScene, FieldConfig, Motion2D, TrajectoryField
from jnrsfm.training import Session

CONFIG = FieldConfig(
    5, 3, width=8, embedding=4, resolution=6, static_resolution=6, coarse=3, channels=2, view_frequencies=1
)
TINY = TrajectoryFieldSettings(
    steps=4, batch=16, chunk=2, samples=4, coarse_samples=4, resolution=6, static_resolution=6, motion_resolution=3,
    channels=2, width=8, frequencies=3, space="box",
)  # fmt: skip


def scene(frames: int = 5, held: bool = True) -> DynamicScene:
    """A bright square that moves to the right before a camera that moves to the left, on black."""
    w, h = 16, 12
    images = np.zeros((frames, h, w, 3), np.uint8)
    moving = np.zeros((frames, h, w), bool)
    for f in range(frames):
        images[f, 4:8, 3 + f : 7 + f] = [250, 120, 30]
        moving[f, 4:8, 3 + f : 7 + f] = True
    poses = np.tile(np.eye(3, 4), (frames, 1, 1))
    poses[:, 0, 3], poses[:, 2, 3] = -0.05 * np.arange(frames), -3
    k = np.tile(np.array([[20.0, 0, 7.5], [0, 20.0, 5.5], [0, 0, 1]]), (frames, 1, 1))
    flow = np.zeros((frames, h, w, 2), np.float32)
    flow[..., 0] = 1
    valid = np.ones((frames, h, w), bool)
    motion = Motion2D(flow, -flow, valid, valid.copy(), moving)
    motion.forward_valid[-1], motion.backward_valid[0] = False, False
    split = tuple("test" if held and f == 2 else "train" for f in range(frames))
    return DynamicScene(
        ArrayPixels(images), poses, k, np.linspace(0, 1, frames), np.tile([1.5, 4.5], (frames, 1)), split,
        motion=motion, background=(0.0, 0.0, 0.0), facing=True,
    )  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of four steps, page and all."""
    out = tmp_path_factory.mktemp("field") / "run"
    return jnrsfm.fit(scene(), TINY, out=out, progress=False)


@pytest.mark.fast
def test_planes_between_nodes_and_their_gradient(key):
    """Linear functions are reproduced; the written rule agrees with finite differences."""
    x, y = jnp.meshgrid(jnp.linspace(-1, 1, 4), jnp.linspace(-1, 1, 5), indexing="ij")
    planes = jnp.stack([2 * x - y, x + 3 * y])[..., None]
    at = jax.random.uniform(key, (7, 2, 2), minval=-1, maxval=1)
    found = field.bilinear(planes, at)[..., 0]
    np.testing.assert_allclose(found[:, 0], 2 * at[:, 0, 0] - at[:, 0, 1], atol=1e-6)
    np.testing.assert_allclose(found[:, 1], at[:, 1, 0] + 3 * at[:, 1, 1], atol=1e-6)
    f = lambda p, a: (field.bilinear(p, a) ** 2).sum()
    on_planes, on_places = jax.grad(f, (0, 1))(planes, at)
    # quadratic in the planes: central differences are exact
    step = jnp.zeros_like(planes).at[1, 2, 3, 0].set(0.5)
    assert float(on_planes[1, 2, 3, 0]) == pytest.approx(
        float(f(planes + step, at) - f(planes - step, at)), abs=1e-4
    )
    np.testing.assert_allclose(on_places[:, 0, 0], 2 * found[:, 0] * 2, rtol=1e-4, atol=1e-5)
    outside = jax.grad(f, 1)(planes, jnp.full((1, 2, 2), 1.5))
    np.testing.assert_allclose(outside, 0)  # clipped at the border


@pytest.mark.fast
def test_a_field_of_known_paths_has_no_cycle_loss_and_goes_where_they_go():
    """All points on one path: coefficients are constant in space and time, so that there and back is the same path."""
    params = field.init_field(jax.random.key(0), CONFIG)
    known = jnp.arange(9.0).reshape(3, 3) / 50
    params["dynamic"]["coefficients"]["b"] = known.reshape(-1)
    points = jnp.array([[[0.1, 0.2, -0.3], [0.0, 0.5, 0.2]]])
    start, end = jnp.array([[0.0]]), jnp.array([[3.0]])
    here = field.dynamic_field(params, CONFIG, points, start)
    moved = points + field.displacement(params, CONFIG, here.coefficients, start, end)
    basis = dct_displacement_basis(5, 3)
    np.testing.assert_allclose(
        moved - points, jnp.broadcast_to((basis[3] - basis[0]) @ known, points.shape), atol=1e-6
    )
    there = field.dynamic_field(params, CONFIG, moved, end)
    back = moved + field.displacement(params, CONFIG, there.coefficients, end, start)
    np.testing.assert_allclose(back, points, atol=1e-6)
    same = jnp.zeros((1, 2))
    loss = losses.cycle(
        same,
        (here.coefficients, there.coefficients),
        (same, same),
        (jnp.zeros((1, 2, 3)), jnp.zeros((1, 2, 3))),
    )
    np.testing.assert_allclose(loss, 0, atol=1e-6)


@pytest.mark.fast
@pytest.mark.parametrize("change", [{}, {"kind": "mlp", "layers": 2, "frequencies": 2}, {"basis": "learned"}])
def test_at_first_nothing_moves_and_a_learned_basis_starts_at_the_cosines(change):
    config = dataclasses.replace(CONFIG, **change)
    params = field.init_field(jax.random.key(0), config)
    points = jnp.linspace(-1, 1, 12).reshape(2, 2, 3)
    found = field.dynamic_field(params, config, points, jnp.array([[1.0], [2.0]]))
    assert found.coefficients.shape == (2, 2, 3, 3)
    assert float(jnp.abs(found.coefficients).max()) == 0
    assert (found.density >= 0).all()
    times = jnp.arange(5.0)
    np.testing.assert_allclose(field.basis_at(params, config, times), dct_displacement_basis(5, 3), atol=1e-6)
    still = field.static_field(params, config, points)
    both = field.density(params, config, points, jnp.array([[1.0], [2.0]]))
    np.testing.assert_allclose(
        both, still.share * still.density + (1 - still.share) * found.density, rtol=1e-4
    )


@pytest.mark.slow
def test_a_run_has_a_field_a_page_and_says_what_was_held_out(run):
    assert isinstance(run.result, TrajectoryField)
    assert run.history[-1]["phase_step"] == 4
    assert {"photo", "photo_near", "photo_far", "cycle", "flow", "flow_far", "path", "static"} <= set(
        run.history[-1]
    )
    page = (run.out / "report.html").read_text()
    assert "images that training did not see" in page
    assert "<canvas" in page
    assert run.result.show.held_out
    assert len(run.result.show.truth) == 1
    assert run.resolved["paths"] == "DCT with 3 frequencies"


@pytest.mark.slow
def test_the_field_on_disk_is_the_field(run):
    again = io.read_result(run.out / "field.npz", TrajectoryField)
    assert again.config == run.result.config
    assert again.space == run.result.space
    jax.tree.map(np.testing.assert_array_equal, again.params, run.result.params)
    pose = run.result.camera_to_world[1]
    np.testing.assert_array_equal(again.render(pose, 0.3).image, run.result.render(pose, 0.3).image)
    bad = run.out / "bad.npz"
    np.savez(bad, a=np.zeros(3))
    with pytest.raises(InputError, match="is no trajectory field"):
        io.read_result(bad, TrajectoryField)


@pytest.mark.slow
def test_a_view_is_the_same_whatever_the_chunk_and_can_be_stopped(run):
    pose = run.result.camera_to_world[0]
    whole = run.result.render(pose, 0.5)
    seen = []
    parts = run.result.render(pose, 0.5, chunk=64, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(64, 192), (128, 192), (192, 192)]
    for a, b in zip(whole, parts, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.result.render(pose, 0.5, chunk=64, progress=stop)
    with pytest.raises(InputError, match="stretches"):
        run.result.render(2 * pose, 0.5)


@pytest.mark.slow
def test_paths_begin_where_they_are_asked_for(run):
    points = np.array([[0.0, 0, 0], [0.2, 0.1, -0.2]])
    paths = run.result.trajectories(points, 0.25)
    assert paths.shape == (2, 4, 3)  # the times of the training images
    np.testing.assert_allclose(run.result.trajectories(points, 0.25, [0.25])[:, 0], points, atol=1e-6)


@pytest.mark.slow
def test_a_training_goes_on_where_it_stopped(run, tmp_path):
    """Stopped after the first dispatch and resumed: the same parameters to the bit."""

    class Stops(Session):
        def record(self, *args):
            super().record(*args)
            self.stop_requested = True

    train = scene().part("train")
    train = dataclasses.replace(train, motion=scene().motion.select([0, 1, 3, 4]))
    with pytest.raises(KeyboardInterrupt):
        trajectory_field.fit(train, "perspective", TINY, 0, Stops(tmp_path))
    resumed = trajectory_field.fit(train, "perspective", TINY, 0, Session(tmp_path, resume=True))
    straight = trajectory_field.fit(train, "perspective", TINY, 0, Session())
    jax.tree.map(np.testing.assert_array_equal, resumed.reconstruction.params, straight.reconstruction.params)


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["local", "t-nerf", "static"])
def test_rivals_share_the_harness(variant):
    settings = dataclasses.replace(TINY, variant=variant, steps=2)
    found = trajectory_field.fit(scene(held=False), "perspective", settings, 0, Session()).reconstruction
    assert (found.config.n_basis > 0) == (variant == "local")
    assert found.config.dynamic == (variant != "static")
    points = np.zeros((1, 3))
    if variant != "local":  # nothing moves
        np.testing.assert_array_equal(found.trajectories(points, 0.0), np.zeros((1, 5, 3)))
    assert np.isfinite(found.render(found.camera_to_world[0], 0.5).image).all()


@pytest.mark.fast
def test_smaller_images_see_the_same_scene():
    whole = scene()
    half = preparing.smaller(whole, 2)
    assert half.size == (8, 6)
    np.testing.assert_allclose(half.intrinsics[0], [[10, 0, 3.5], [0, 10, 2.5], [0, 0, 1]])
    np.testing.assert_array_equal(half.images[1], whole.images[1].reshape(6, 2, 8, 2, 3).mean((1, 3)).round())
    np.testing.assert_allclose(half.motion.forward[0, ..., 0], 0.5)
    with pytest.raises(InputError, match="downscale"):
        preparing.smaller(whole, 4)


@pytest.mark.fast
def test_moving_pixels_are_drawn_more_often():
    pixels = preparing.pixels_of(scene(held=False), 1 / 3, 3, 0)
    count = 5 * 12 * 16
    assert len(pixels.frame) == round(count * 1.5)
    moving = np.asarray(pixels.moving)
    assert moving.sum() == round(count / 2) + 5 * 16
    assert (np.asarray(pixels.colour)[moving] == [250, 120, 30]).all()
    # the flow of a pixel a frame, chained over at most three frames and never beyond the clip
    steps, frame = np.asarray(pixels.far_steps).astype(int), np.asarray(pixels.frame)
    assert steps.min() == -3
    assert steps.max() == 3
    assert ((frame + steps >= 0) & (frame + steps < 5)).all()
    np.testing.assert_allclose(pixels.far - np.asarray(pixels.place), np.stack([steps, 0 * steps], 1))


@pytest.mark.fast
def test_coordinates_are_chosen_by_how_a_scene_was_filmed():
    look = (np.zeros(3), 3.0)
    one = scene()
    assert preparing.space_of(one, "auto", look).kind == "box"
    front = dataclasses.replace(one, background=None)
    assert preparing.space_of(front, "auto", look).kind == "ndc"
    assert preparing.space_of(dataclasses.replace(front, facing=False), "auto", look).kind == "contracted"
    assert preparing.space_of(one, "contracted", look) == SceneSpace("contracted", (0.0, 0.0, 0.0), 1.2)
    with pytest.raises(InputError, match="frequencies is 9"):
        preparing.field_config(one, dataclasses.replace(TINY, frequencies=9))
