"""The word of a field's report follows its figures, and is never good on nonsense."""

import numpy as np
import pytest

from jnrsfm.metrics import assess_field

GOOD = {"psnr": 30.0, "ssim": 0.95, "gain_over_copy": 6.0}


@pytest.mark.fast
@pytest.mark.parametrize(
    ("change", "held_out", "share", "word"),
    [
        ({}, True, 0.1, "good"),
        ({}, True, None, "good"),
        ({}, False, 0.1, "unknown"),
        ({"psnr": 25.0}, True, 0.1, "fair"),
        ({"psnr": 15.0}, True, 0.1, "poor"),
        ({"gain_over_copy": -1.0}, True, 0.1, "poor"),  # the nearest image copied is as good
        ({"ssim": float("nan")}, True, 0.1, "poor"),
        ({"gain_over_copy": float("-inf")}, True, 0.1, "poor"),  # the copy is the image itself
        ({"psnr": float("inf")}, True, 0.1, "good"),
        ({}, True, 0.9, "fair"),  # views may be good where paths are not
    ],
)
def test_the_word(change, held_out, share, word):
    views = {n: v for n, v in (GOOD | change).items() if held_out or n != "gain_over_copy"}
    found = assess_field(views, 6, held_out, flow_share=share)
    assert found["verdict"]["word"] == word
    assert found["verdict"]["text"].startswith(word)
    assert ("paths_against_flow" in [i["name"] for i in found["items"]]) == (share is not None)
    assert any("do not follow" in w for w in found["warnings"]) == (share == 0.9)
    assert np.isfinite([i["value"] for i in found["items"]]).all()  # a file can hold them
    assert ("gain_over_copy" in [i["name"] for i in found["items"]]) == held_out
    assert any("held out" in w for w in found["warnings"]) == (not held_out)


@pytest.mark.fast
def test_what_was_said_before_is_kept_and_paths_are_never_without_their_warning():
    found = assess_field(GOOD, 6, True, flow_share=0.1, remarks=["no optical flow"])
    assert found["warnings"][0] == "no optical flow"
    assert "may drift" in found["warnings"][1]
    assert assess_field(GOOD, 6, True)["warnings"] == []
