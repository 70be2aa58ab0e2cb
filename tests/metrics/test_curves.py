"""Errors frame by frame and what they depend on, against numbers worked out by hand."""

import json

import numpy as np
import pytest

from jnrsfm import metrics
from jnrsfm.errors import InputError
from jnrsfm.metrics import curves
from jnrsfm.types import Cameras, Reconstruction

SQUARE = np.array([[1.0, 1, 1], [-1, 1, -1], [-1, -1, 1], [1, -1, -1]])


def about_y(degrees):
    a = np.radians(np.atleast_1d(degrees))
    c, s, o = np.cos(a), np.sin(a), np.zeros_like(a)
    return np.stack([c, o, s, o, o + 1, o, -s, o, c], -1).reshape(-1, 3, 3)


def record(points, rotations=None, translations=None, **fields):
    rotations = np.broadcast_to(np.eye(3), (len(points), 3, 3)) if rotations is None else rotations
    return Reconstruction(
        points3d=points, cameras=Cameras(rotations=rotations, translations=translations), **fields
    )


@pytest.mark.fast
def test_point_and_frame_errors_agree_with_the_protocol():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(10, 6, 3))
    reference = record(x, valid3d=rng.random((10, 6)) < 0.8)
    estimate = record(x + 0.1 * rng.normal(size=x.shape))
    whole = metrics.evaluate(estimate, reference)
    for name in ("kong", "frame-mirror", "deep-nrsfm++", "one-mirror"):
        errors = curves.frame_errors(estimate, reference, name)
        np.testing.assert_allclose(np.nanmean(errors), whole[name]["normalized_error"], rtol=1e-9)
    for name in ("kong", "c3dpo", "deep-nrsfm++"):
        points = curves.point_errors(estimate, reference, name)
        assert (np.isnan(points) == ~reference.valid3d).all()
        np.testing.assert_allclose(np.nanmean(points, 1).mean(), whole[name]["mpjpe"], rtol=1e-9)
        np.testing.assert_allclose(
            curves.frame_errors(estimate, reference, name, "mpjpe").mean(), whole[name]["mpjpe"], rtol=1e-9
        )
    np.testing.assert_allclose(
        curves.frame_errors(estimate, reference, "c3dpo", "stress").mean(),
        whole["c3dpo"]["stress"],
        rtol=1e-9,
    )
    g = curves.protocol("akhter").align(estimate, reference)
    spread = (np.sqrt((g.reference**2).sum(1) / g.valid.sum(1)[:, None])).mean()
    mean = np.nanmean(curves.point_errors(estimate, reference, "akhter"))
    np.testing.assert_allclose(mean / spread, whole["akhter"]["e3d"], rtol=1e-9)
    with pytest.raises(InputError, match="unknown frame error 'mse'"):
        curves.frame_errors(estimate, reference, metric="mse")


@pytest.mark.fast
def test_frames_without_reference_are_nan_not_zero():
    valid = np.ones((2, 4), bool)
    valid[1] = False
    shapes = np.stack([SQUARE, SQUARE])
    reference = record(shapes, valid3d=valid)
    for metric in ("normalized_error", "mpjpe", "stress"):
        errors = curves.frame_errors(record(shapes), reference, "kong", metric)
        np.testing.assert_allclose(errors, [0.0, np.nan], atol=1e-9)


@pytest.mark.fast
def test_success_rate_counts_strictly_below_and_skips_nan():
    errors = np.array([[0.1, 0.2], [0.3, np.nan], [0.4, 0.2]])
    rate = curves.success_rate(errors, np.array([0.0, 0.2, 0.25, 1.0]))
    np.testing.assert_allclose(rate, [0.0, 0.2, 0.6, 1.0])
    assert np.isnan(curves.success_rate(np.array([np.nan]), np.array([1.0]))).all()


@pytest.mark.fast
def test_bins():
    got = curves.by_bins(
        np.array([1.0, 3.0, 5.0, np.nan, 7.0]),
        np.array([0.1, 0.1, 0.5, 0.5, 1.0]),
        np.array([0.0, 0.25, 0.5, 0.75, 1.0]),
    )
    np.testing.assert_array_equal(got.frames, [2, 0, 1, 1])
    np.testing.assert_allclose(got.mean, [2.0, np.nan, 5.0, 7.0])


@pytest.mark.fast
def test_visible_fraction_is_of_the_defined_points():
    visible = np.array([[True, False, True, True], [False, False, False, False]])
    defined = np.array([[True, True, True, False], [False, False, False, False]])
    np.testing.assert_allclose(curves.visible_fraction(visible), [0.75, 0.0])
    np.testing.assert_allclose(curves.visible_fraction(visible, defined), [2 / 3, np.nan])


@pytest.mark.fast
def test_view_angles_of_known_cameras():
    # the object turned by a about y (down): the camera sees it from azimuth a about "up" = -y
    azimuth, elevation = curves.view_angles(about_y([0.0, 30.0, 90.0, -90.0, 180.0]))
    np.testing.assert_allclose(azimuth, [0, 30, 90, -90, -180], atol=1e-9)
    np.testing.assert_allclose(elevation, 0, atol=1e-9)
    # looking straight down: image y is object -z
    down = np.array([[[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]])
    np.testing.assert_allclose(curves.view_angles(down)[1], 90, atol=1e-5)
    # roll about the optical axis changes neither
    roll = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(curves.view_angles(roll @ about_y(30.0))[0], 30)
    with pytest.raises(InputError, match="parallel"):
        curves.view_angles(about_y(0.0), up=(0.0, 0.0, 1.0), front=(0.0, 0.0, -2.0))


@pytest.mark.fast
def test_camera_distance_is_to_the_mean_of_the_valid_points():
    shapes = np.stack([SQUARE, SQUARE + 100.0])
    shapes[1, 3] = np.nan
    valid = np.isfinite(shapes[..., 0])
    shapes[1, :3] = 0.0
    reference = record(shapes, translations=np.array([[3.0, 0, 4], [0, 0, 2]]), valid3d=valid)
    np.testing.assert_allclose(curves.camera_distance(reference), [5.0, 2.0])
    with pytest.raises(InputError, match="needs camera translations"):
        curves.camera_distance(record(shapes))


def test_error_curves_are_json_and_complete():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(30, 6, 3))
    reference = record(
        x,
        about_y(rng.uniform(-180, 180, 30)),
        rng.normal(size=(30, 3)) + np.array([0, 0, 10]),
        visible=rng.random((30, 6)) < 0.7,
    )
    estimate = reference.replace(points3d=x + 0.1 * rng.normal(size=x.shape), visible=None)
    got = curves.error_curves(estimate, reference, bins=4)
    assert json.loads(json.dumps(got, allow_nan=False)) == got
    for name in ("azimuth", "visibility", "distance"):
        assert sum(got[name]["count"]) == 30
        total = sum(m * n for m, n in zip(got[name]["mean"], got[name]["count"], strict=True) if n)
        whole = metrics.evaluate(estimate, reference, ["deep-nrsfm++"])["deep-nrsfm++"]["mpjpe"]
        np.testing.assert_allclose(total / 30, whole)
    assert got["success"]["rate"] == sorted(got["success"]["rate"])
    assert got["success"]["rate"][0] == 0.0
    bare = reference.replace(visible=None, cameras=reference.cameras.replace(translations=None))
    assert set(curves.error_curves(bare, bare, thresholds=[0.5])) == {
        "protocol",
        "metric",
        "success",
        "azimuth",
    }
