"""The picture of codes: its plane, its colours, and that every frame is in it."""

import numpy as np
import pytest

from jnrsfm.report.latent import colour, latent_svg, plane

pytestmark = pytest.mark.fast


def test_plane_keeps_distances_of_codes_that_lie_in_one():
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(30, 2))
    codes = flat @ np.linalg.qr(rng.normal(size=(5, 2)))[0].T + 3
    found, share = plane(codes)
    assert share == pytest.approx(1)
    distance = lambda x: np.linalg.norm(x[:, None] - x[None], axis=-1)
    np.testing.assert_allclose(distance(found), distance(flat), atol=1e-9)


def test_plane_of_one_number_or_equal_codes():
    found, share = plane(np.arange(4.0)[:, None])
    assert found.shape == (4, 2)
    assert share == pytest.approx(1)
    assert np.isfinite(plane(np.zeros((3, 4)))[0]).all()


def test_time_goes_from_dark_to_bright():
    bright = [sum(int(colour(t)[i : i + 2], 16) for i in (1, 3, 5)) for t in (0.0, 0.5, 1.0)]
    assert bright == sorted(bright)
    assert len({colour(float(t)) for t in np.linspace(0, 1, 50)}) == 50


def test_every_frame_is_a_dot_and_clips_are_not_joined():
    codes = np.random.default_rng(1).normal(size=(10, 3))
    svg = latent_svg(codes, sequence=np.repeat([0, 1], 5))
    assert svg.count("<circle") == 10
    assert svg.count("<line") == 8
    assert "nan" not in svg
    shapes = np.random.default_rng(2).normal(size=(4, 6, 3))
    with_strip = latent_svg(codes, between=shapes, edges=np.array([[0, 1], [2, 3]]))
    assert with_strip.count("<circle") == 10 + 4 * 6
