"""Chains of flow against exact motions, where they must end, and what they say."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jnrsfm.inputs import chained_flow

FRAMES, HIGH, WIDE = 6, 12, 16


def steady(move) -> np.ndarray:
    """The same flow everywhere."""
    return np.broadcast_to(np.asarray(move, np.float32), (FRAMES, HIGH, WIDE, 2)).copy()


@pytest.mark.fast
@settings(max_examples=30, deadline=None)
@given(
    st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.integers(0, FRAMES - 1), st.integers(0, FRAMES),
    st.sampled_from([1, -1]),
)  # fmt: skip
def test_a_steady_flow_leads_as_many_steps_as_there_is_room(u, v, frame, steps, way):
    valid = np.ones((FRAMES, HIGH, WIDE), bool)
    found = chained_flow(
        steady((u, v)), valid, np.array([frame]), np.array([[7.0, 5.0]]), np.array([steps]), way
    )
    room = FRAMES - 1 - frame if way > 0 else frame
    inside = [
        k for k in range(1, FRAMES)
        if 0 <= 7 + np.float32(u) * k <= WIDE - 1 and 0 <= 5 + np.float32(v) * k <= HIGH - 1
    ]  # fmt: skip
    most = min(steps, room, max(inside, default=0))
    assert found.steps[0] == way * most
    np.testing.assert_allclose(found.place[0], [7 + u * most, 5 + v * most], atol=1e-4)


@pytest.mark.fast
def test_a_turning_flow_is_followed_between_pixels():
    """Rotation by a twelfth about the middle, a step: six steps lead to the other side."""
    angle = np.pi / 12
    y, x = np.mgrid[0:HIGH, 0:WIDE].astype(float)
    middle = np.array([7.5, 5.5])
    away = np.stack([x, y], -1) - middle
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    flow = np.broadcast_to(away @ turn.T - away, (7, HIGH, WIDE, 2)).astype(np.float32)
    valid = np.ones((7, HIGH, WIDE), bool)
    found = chained_flow(flow, valid, np.array([0]), middle[None] + [[3.0, 0.0]], np.array([6]), 1)
    assert found.steps[0] == 6
    np.testing.assert_allclose(found.place[0], middle + np.array([0, 3]), atol=1e-4)


@pytest.mark.fast
def test_a_chain_ends_where_flow_is_not_valid_or_tears_and_keeps_what_it_reached():
    flow, valid = steady((1.0, 0.0)), np.ones((FRAMES, HIGH, WIDE), bool)
    start = (np.array([0]), np.array([[2.0, 4.0]]), np.array([5]))
    valid[2, 4, 4] = False  # where the point is after two steps
    found = chained_flow(flow, valid, *start, 1)
    assert found.steps[0] == 2
    np.testing.assert_allclose(found.place[0], [4, 4])
    valid[:] = True
    flow[3, :, 6:] = 9.0  # beside the place after three steps and a half pixel
    place = np.array([[2.5, 4.0]])
    found = chained_flow(flow, valid, start[0], place, start[2], 1)
    assert found.steps[0] == 3
    np.testing.assert_allclose(found.place[0], [5.5, 4])
    # what lies beside a place on a pixel itself has no share in it
    assert chained_flow(flow, valid, *start, 1).steps[0] == 5
