"""Rendered figures: the truth of every pixel and landmark, and the same images whatever else is drawn."""

import dataclasses

import jax
import numpy as np
import pytest

from jnrsfm.datasets import RenderedFigures, contact_sheet, figure_mesh, render_figures
from jnrsfm.datasets.render import drawing, kernel, shapes
from jnrsfm.datasets.render.mesh import distances
from jnrsfm.errors import InputError

SIZE = 32
SINGLE = RenderedFigures(figures=("walker", "quadruped", "hand"), images=12, size=SIZE, seed=3)
CLIPS = RenderedFigures(
    figures=("walker", "quadruped"), images=6, clip=3, size=SIZE, seed=3,
    flow=True, stereo=True, travel=True, lighting=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def drawn():
    return render_figures(SINGLE)


@pytest.fixture(scope="module")
def moving():
    return render_figures(CLIPS)


def marched(inverse, eye, size, rays):
    """Depths of rounded cones by sphere tracing: steps of the distance to the union of many balls."""
    s = np.linspace(0, 1, 257)
    centre, radius = s * size[0], size[1] + s * (size[2] - size[1])
    d = rays @ inverse.T
    speed = np.linalg.norm(d, axis=1)
    t = np.zeros(len(rays))
    for _ in range(80):
        q = eye + t[:, None] * d
        rho2 = q[:, 0] ** 2 + q[:, 1] ** 2
        gap = (np.sqrt(rho2[:, None] + (q[:, 2:] - centre) ** 2) - radius).min(1)
        t = np.minimum(t + gap / speed, 1e3)
    return np.where(gap < 1e-3, t, np.inf)


def test_rounded_cones_are_met_where_a_march_meets_them(rng):
    u, v = rng.uniform(-0.2, 0.2, (2, 60))
    rays = np.stack([u, v, np.ones(60)], -1)
    hits = 0
    for i in range(12):
        squeeze = rng.uniform(0.5, 1.2, 3)
        turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
        linear = squeeze[:, None] * turn if i % 3 else turn
        size = np.array([rng.uniform(0, 1.5), *rng.uniform(0.05, 0.6, 2)])
        # As `assemble` does: one ball holds the other where the length is short.
        if size[0] <= abs(size[1] - size[2]):
            size = np.array([0.0, size[1:].max(), size[1:].max()])
        inverse = np.linalg.inv(linear)
        eye = -inverse @ (rng.normal(size=3) * [0.4, 0.4, 0.3] + [0, 0, 3])
        want = marched(inverse, eye, size, rays)
        f32 = lambda x: np.asarray(x, np.float32)
        got = shapes.cone_depth(*shapes.local_ray(f32(inverse), f32(eye), f32(u), f32(v)), f32(size))
        got = np.where(np.asarray(got) < shapes.FAR, got, np.inf)
        both = np.isfinite(want) & np.isfinite(got)
        # At the outline the march and rounding may disagree.
        assert (np.isfinite(want) != np.isfinite(got)).mean() < 0.02
        np.testing.assert_allclose(got[both], want[both], rtol=2e-3)
        hits += both.sum()
    assert hits > 100


@pytest.mark.fast
def test_records_are_consistent(drawn):
    f, p = drawn.landmarks.points2d.shape[:2]
    assert (f, p) == (12, 19 + 25 + 21)
    assert drawn.images.shape == (12, SIZE, SIZE, 3)
    assert drawn.images.dtype == np.uint8
    assert (drawn.category == np.arange(12) % 3).all()
    assert drawn.landmarks.defined.sum(1).tolist() == [19, 25, 21] * 4
    assert len(drawn.landmarks.names) == p
    assert drawn.landmarks.names[19].startswith("quadruped:")
    assert not (drawn.landmarks.visible & ~drawn.landmarks.defined).any()
    assert (drawn.mask == (drawn.parts > 0)).all()
    assert drawn.parts.max() <= len(drawn.part_names)
    # Each image shows parts of its own figure only.
    for i, which in enumerate(drawn.category):
        seen = {drawn.part_names[k - 1].split(":")[0] for k in np.unique(drawn.parts[i]) if k}
        assert seen == {drawn.categories[which]}


def test_landmarks_are_the_projection_of_the_reference(drawn):
    seen = drawn.landmarks.visible
    error = np.abs(np.asarray(drawn.reference.points2d) - drawn.landmarks.points2d)[seen]
    assert error.max() < 1e-3
    assert (drawn.landmarks.points2d[~seen] == 0).all()


def test_culling_changes_nothing(drawn):
    """The depth of each pixel is that of the nearest of all shapes, tried one and all."""
    clip = [c for _, c in drawing.clips(SINGLE)]
    layout = drawing.layout_of(SINGLE)
    pictures = [drawing.picture(c, 0) for c in clip]
    stacked = drawing._stacked(pictures, drawing.PARALLEL)
    body = drawing._stacked([c.label > 0 for c in clip], drawing.PARALLEL)
    for y in (8, 16, 27):
        points = np.ones((drawing.PARALLEL, 48, 3), np.float32)
        for i in range(12):
            focal, cx, cy = clip[i].camera
            points[i, :SIZE, 0], points[i, :, 1] = (np.arange(SIZE) - cx) / focal, (y - cy) / focal
        mine, other = (np.asarray(x)[:12, :SIZE] for x in kernel.probe_all(stacked, body, layout, points))
        nearest = np.minimum(mine, other)
        found = drawn.depth[:, y]
        met = nearest < 8 * np.array([c.scale for c in clip])[:, None]  # the dome is beyond
        assert met.mean() > 0.5
        np.testing.assert_allclose(found[met], nearest[met], rtol=1e-3)
        np.testing.assert_array_equal(drawn.mask[:, y], met & (mine < other))


def test_a_landmark_that_is_not_hidden_lies_on_the_figure_at_its_depth(drawn):
    """Its pixel shows the figure, no farther away than it; a hidden one has something before it."""
    points = np.asarray(drawn.reference.points2d)
    z = np.asarray(drawn.reference.camera_points)[..., 2]
    free = drawn.landmarks.defined & ~(drawn.hidden_by_body | drawn.hidden_by_object | drawn.outside)
    inside = drawn.landmarks.defined & ~drawn.outside
    hit, front, behind = [], [], []
    for f, p in np.argwhere(inside):
        x, y = np.clip(np.round(points[f, p]).astype(int), 0, SIZE - 1)
        if free[f, p]:
            around = drawn.mask[f, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            hit.append(around.any())
            front.append(drawn.depth[f, y, x] < z[f, p] * 1.02 or not drawn.mask[f, y, x])
        else:
            behind.append(drawn.depth[f, max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2].min() < z[f, p])
    assert np.mean(hit) > 0.98
    assert np.mean(front) > 0.98
    assert np.mean(behind) > 0.98
    assert len(behind) > 10


def test_boxes_are_those_of_the_mask(drawn):
    for mask, (x0, y0, x1, y1) in zip(drawn.mask, drawn.boxes, strict=True):
        y, x = np.nonzero(mask)
        assert (x0, y0, x1, y1) == (x.min() - 0.5, y.min() - 0.5, x.max() + 0.5, y.max() + 0.5)


def test_an_image_depends_on_its_index_alone(drawn):
    fewer = render_figures(RenderedFigures(**SINGLE.__dict__ | {"images": 5}))
    np.testing.assert_array_equal(fewer.images, drawn.images[:5])
    np.testing.assert_array_equal(fewer.depth, drawn.depth[:5])
    # Another seed is another subject before another camera.
    clips = [next(drawing.clips(RenderedFigures(**SINGLE.__dict__ | {"seed": seed})))[1] for seed in (3, 4)]
    assert abs(clips[0].scale / clips[1].scale - 1) > 1e-3
    assert np.abs(clips[0].rotations - clips[1].rotations).max() > 1e-2


def test_a_shifted_principal_point_crops(drawn):
    _, clip = next(drawing.clips(SINGLE))
    picture = drawing.picture(clip, 0)
    moved = picture._replace(camera=picture.camera - np.array([0, 8, 4], np.float32))
    seen = kernel.draw_all(drawing._stacked([picture, moved], drawing.PARALLEL), drawing.layout_of(SINGLE))
    whole, part = (jax.tree.map(lambda x, i=i: np.asarray(x[i]), seen) for i in (0, 1))
    np.testing.assert_array_equal(whole.image, drawn.images[0])
    assert (whole.shape[4:, 8:] == part.shape[:-4, :-8]).mean() > 0.999
    np.testing.assert_allclose(whole.depth[4:, 8:], part.depth[:-4, :-8], rtol=1e-3)


def warped(image, x, y):
    """Bilinear samples of `image (h, w, c)`; NaN outside."""
    h, w = image.shape[:2]
    x0, y0 = np.floor(x).astype(int), np.floor(y).astype(int)
    bad = (x0 < 0) | (y0 < 0) | (x0 > w - 2) | (y0 > h - 2)
    x0, y0, image = np.clip(x0, 0, w - 2), np.clip(y0, 0, h - 2), image.astype(float)
    a, b = (x - x0)[..., None], (y - y0)[..., None]
    top = (1 - a) * image[y0, x0] + a * image[y0, x0 + 1]
    low = (1 - a) * image[y0 + 1, x0] + a * image[y0 + 1, x0 + 1]
    return np.where(bad[..., None], np.nan, (1 - b) * top + b * low)


GRID = np.mgrid[:SIZE, :SIZE][::-1].astype(float)


@pytest.mark.parametrize(("name", "step"), [("forward", 1), ("backward", -1)])
def test_flow_is_the_motion_of_the_surface(moving, name, step):
    flow, hidden = getattr(moving, f"flow_{name}"), getattr(moving, f"hidden_{name}")
    x, y = GRID
    for f in range(6):
        to = f + step
        if not 0 <= to < 6 or moving.sequence[to] != moving.sequence[f]:
            assert hidden[f].all()
            assert (flow[f] == 0).all()
            continue
        world = moving.carry(f, to)
        seen = world @ moving.cameras.rotations[to].T + moving.cameras.translations[to]
        k = moving.intrinsics[to]
        image = seen[..., :2] / seen[..., 2:] * k[0, 0] + k[:2, 2]
        np.testing.assert_allclose(flow[f], image - np.stack([x, y], -1), atol=2e-3)
        # Colours go with the surface, but for what is hidden; half of the pixels at least can be compared.
        free = ~hidden[f]
        assert 0.4 < free.mean() < 1
        other = warped(moving.images[to], x + flow[f, ..., 0], y + flow[f, ..., 1])
        error = np.nanmedian(np.abs(other - moving.images[f])[free])
        assert error < 1.5
        # And so does depth.
        depth = warped(moving.depth[to][..., None], x + flow[f, ..., 0], y + flow[f, ..., 1])[..., 0]
        assert np.nanmedian(np.abs(depth / seen[..., 2] - 1)[free]) < 2e-3
        wrong = np.nanmean((depth < 0.97 * seen[..., 2])[hidden[f]])
        assert np.isnan(wrong) or wrong > 0.2 or hidden[f].mean() < 0.05


def test_figures_move_and_the_world_stands_still(moving):
    here = moving.carry(0, 0)
    there = moving.carry(0, 2)
    step = np.linalg.norm(there - here, axis=-1)
    assert step[~moving.mask[0]].max() < 1e-6
    assert np.median(step[moving.mask[0]]) > 1e-3
    with pytest.raises(ValueError, match="different clips"):
        moving.carry(0, 3)


def test_stereo_is_rectified(moving):
    x, y = GRID
    focal = moving.intrinsics[:, 0, 0]
    want = (focal * moving.baseline)[:, None, None] / moving.depth
    np.testing.assert_allclose(moving.disparity, want, rtol=1e-5)
    for f in range(6):
        free = ~moving.hidden_right[f]
        assert free.mean() > 0.3
        other = warped(moving.right_images[f], x - moving.disparity[f], y)
        assert np.nanmedian(np.abs(other - moving.images[f])[free]) < 1.5
        depth = warped(moving.right_depth[f][..., None], x - moving.disparity[f], y)[..., 0]
        assert np.nanmedian(np.abs(depth / moving.depth[f] - 1)[free]) < 2e-3


def test_a_rig_that_is_toed_in_shifts_the_right_picture(moving):
    config = dataclasses.replace(moving.config, images=2, clip=2, convergence=(1.0, 1.0), flow=False)
    plain = render_figures(dataclasses.replace(config, convergence=None))
    toed = render_figures(config)
    np.testing.assert_array_equal(toed.images, plain.images)
    shift = plain.disparity - toed.disparity
    assert np.ptp(shift[0]) < 1e-3
    assert (toed.disparity < 0).any()
    assert (toed.disparity > 0).any()
    x, y = GRID
    free = ~toed.hidden_right[0]
    other = warped(toed.right_images[0], x - toed.disparity[0], y)
    assert np.nanmedian(np.abs(other - toed.images[0])[free]) < 1.5


def test_feet_that_carry_do_not_slide():
    """A figure that travels covers ground, and the lower of its feet hardly moves along it."""
    config = RenderedFigures(figures=("walker",), images=240, clip=24, travel=True, seed=3)
    on_the_spot = RenderedFigures(figures=("walker",), images=240, clip=24, seed=3)
    slid = {}
    for name, settings in (("travel", config), ("spot", on_the_spot)):
        slid[name] = []
        for _, clip in drawing.clips(settings):
            turn, path = clip.subject
            world = np.einsum("fij,fpj->fpi", turn, clip.motion.points) + path[:, None]
            feet = world[:, [clip.motion.names.index(n) for n in ("left_toe", "right_toe")]]
            step = np.linalg.norm(np.diff(feet[..., ::2], axis=0), axis=-1)
            low = feet[:-1, :, 1].argmax(1)
            slid[name].append(np.median(step[np.arange(len(step)), low]))
    assert np.mean(slid["travel"]) < 0.5 * np.mean(slid["spot"])


@pytest.mark.fast
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"figures": ("dragon",)}, "figures"),
        ({"figures": ("walker", "walker")}, "once"),
        ({"images": 10, "clip": 3}, "multiple"),
        ({"size": 4}, "size"),
        ({"flow": True}, "clip"),
        ({"distance": (3.0, 2.0)}, "distance"),
        ({"occluders": 1.5}, "occluders"),
        ({"hide": ("fog",)}, "hide"),
    ],
)
def test_bad_settings_are_named(options, said):
    with pytest.raises(InputError, match=said):
        RenderedFigures(**options)


@pytest.mark.parametrize("figure", ["walker", "hand"])
def test_the_mesh_is_closed_and_rides_on_the_body(figure):
    config = RenderedFigures(figures=(figure,), images=2, clip=2, size=SIZE)
    mesh = figure_mesh(config, cells=26, blend=0.0)
    edges = np.concatenate([mesh.faces[:, [0, 1]], mesh.faces[:, [1, 2]], mesh.faces[:, [2, 0]]])
    # Each edge once in each direction: closed, manifold, oriented; outward, since the volume is positive.
    forth, back = (np.unique(e, axis=0) for e in (edges, edges[:, ::-1]))
    assert len(forth) == len(edges)
    np.testing.assert_array_equal(forth, back)
    a, b, c = (mesh.vertices[mesh.faces[:, i]] for i in range(3))
    assert (np.cross(a, b) * c).sum() > 0
    # The vertices of each frame lie on the surface that is drawn, or under another part of it.
    body = drawing.subject(config, 0)[1]
    for frame, points in enumerate(mesh.tracks):
        gap = distances(body, frame, points).min(0)
        assert gap.max() < 0.01 * np.ptp(mesh.vertices, axis=0).max()
        assert np.median(np.abs(gap)) < 1e-3 * np.ptp(mesh.vertices, axis=0).max()


def test_a_contact_sheet_holds_the_images_in_order(drawn):
    sheet = contact_sheet(drawn.images[:5], 3)
    assert sheet.shape == (2 * SIZE, 3 * SIZE, 3)
    np.testing.assert_array_equal(sheet[SIZE:, SIZE : 2 * SIZE], drawn.images[4])
    assert (sheet[SIZE:, 2 * SIZE :] == 128).all()
