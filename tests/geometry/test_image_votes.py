"""Images that tell the depth reflection of their frames, beside continuity in time."""

import itertools

import numpy as np
import pytest

from jnrsfm.errors import InputError
from jnrsfm.geometry.depth_reflection import resolve_mirrors
from jnrsfm.geometry.mirror_evidence import image_votes
from jnrsfm.linalg.sign_synchronization import solve_chain

pytestmark = pytest.mark.fast

FLIP_Z = np.array([1.0, 1.0, -1.0])


def moving(rng, frames, points=9):
    """`(frame, point, 3)`: points that each go round an ellipse of their own, the phases apart."""
    t = np.arange(frames)[:, None, None] * 0.1
    middle, wide = rng.normal(size=(2, points, 3))
    return middle + wide * np.sin(t + rng.uniform(0, 6, (points, 3)))


@pytest.mark.parametrize(("n", "lag"), [(2, 1), (8, 2), (11, 4)])
def test_a_chain_with_votes_equals_enumeration(rng, n, lag):
    signs = np.array(list(itertools.product([1.0, -1.0], repeat=n)))
    for scale in (0.1, 1.0, 10.0):
        links, votes = rng.normal(size=(lag, n)), scale * rng.normal(size=n)
        values = signs @ votes
        for k in range(1, min(lag, n - 1) + 1):
            values = values + (links[k - 1, k:] * signs[:, k:] * signs[:, :-k]).sum(-1)
        mask, loss = solve_chain(links, votes)
        np.testing.assert_array_equal(np.where(mask, -1, 1), signs[values.argmax()])
        # the loss: of the best signs in which one frame turns and the anchor, one of them, stays
        turned = [
            [
                values.max() - values[(signs[:, f] != signs[values.argmax(), f]) & stays].max()
                for f in range(n)
                if f != a
            ]
            for a in range(n)
            for stays in [signs[:, a] == signs[values.argmax(), a]]
        ]
        assert any(np.allclose(np.delete(loss, a), turned[a]) for a in range(n))
    assert solve_chain(np.zeros((1, 3)), np.array([-1.0, -1, 1]))[0].tolist() == [True, True, False]


def test_a_vote_is_the_log_ratio_of_what_the_images_are_missed_by(rng):
    good, bad = np.full(50, 1.0), np.full(50, 19.0)
    votes = image_votes(np.stack([good, bad], 1))
    np.testing.assert_allclose(votes, 1.0)  # (1 + 19) / (1 + 1) = 10: certain
    np.testing.assert_allclose(image_votes(np.stack([bad, good], 1)), -votes)
    np.testing.assert_array_equal(image_votes(np.stack([bad, bad], 1)), 0)
    np.testing.assert_array_equal(image_votes(np.zeros((3, 2))), 0)
    assert image_votes(np.zeros((0, 2))).shape == (0,)
    far = image_votes(np.r_[np.stack([good, bad], 1), [[100.0, 2000]]])[-1]
    assert 0 < far < 0.1  # a frame that neither reflection explains has little to say


@pytest.mark.parametrize("clips", [1, 3])
def test_images_turn_what_a_weak_cut_in_time_leaves_reflected(rng, clips):
    """In the middle of each clip the pose jumps, so that time cannot tie its two sides; the images tell them."""
    n = 60
    parts = [np.r_[moving(rng, n // 2), moving(rng, n // 2)] for _ in range(clips)]
    flip = np.tile(np.arange(n) >= n // 2, clips) ^ (np.arange(n * clips) % 7 == 0)
    shapes = np.concatenate(parts) * np.where(flip[:, None, None], FLIP_Z, 1)
    clip = np.repeat(np.arange(clips), n)
    wrong = rng.random(n * clips) < 0.2
    images = np.where(flip ^ wrong, -0.3, 0.3)
    assert (images < 0).mean() != pytest.approx(flip.mean(), abs=1e-3)
    found = resolve_mirrors(shapes, clip, images=images)
    np.testing.assert_array_equal(found.flip, flip)
    np.testing.assert_array_equal(resolve_mirrors(shapes, clip, images=-images).flip, ~flip)
    assert any((resolve_mirrors(shapes, clip).flip ^ flip)[clip == c].std() > 0 for c in range(clips))


def test_lone_frames_that_nothing_joins_are_left_to_their_images(rng):
    shapes = rng.normal(size=(300, 10, 3))  # no two alike
    images = np.where(rng.random(300) < 0.5, -0.5, 0.5)
    np.testing.assert_array_equal(resolve_mirrors(shapes, images=images).flip, images < 0)


def test_images_that_say_nothing_change_nothing(rng):
    shapes, clip = moving(rng, 40), np.repeat([0, 1], 20)
    plain, silent = resolve_mirrors(shapes, clip), resolve_mirrors(shapes, clip, images=np.zeros(40))
    np.testing.assert_array_equal(plain.flip, silent.flip)
    np.testing.assert_allclose(plain.margin, silent.margin)


@pytest.mark.parametrize("images", [np.ones(3), np.full(5, np.nan)])
def test_images_of_another_length_or_without_a_number_are_refused(rng, images):
    with pytest.raises(InputError, match="images"):
        resolve_mirrors(rng.normal(size=(5, 6, 3)), images=images)
