"""
Wrong points and confidence
===========================

Detectors are wrong at times: a wrist jumps to another place for a frame. What does that do to the 3D?
"""

import matplotlib.pyplot as plt
import numpy as np

import jnrsfm
from jnrsfm import datasets, metrics
from jnrsfm.methods import Pnd

quick = Pnd(modes=16, cooling=(0.93,), floor=1e-3, starts=4)
landmarks, truth = datasets.make(
    "walker", seed=4, frames=90, clips=1, camera="orthographic", view="orbit", degrees_per_frame=4.0
)
rng = np.random.default_rng(0)
wrong = rng.random(landmarks.visible.shape) < 0.05
jump = rng.uniform(-1.5, 1.5, (*wrong.shape, 2))  # metres, as large as the figure
spoilt = landmarks.replace(points2d=(landmarks.points2d + wrong[..., None] * jump).astype(np.float32))


def error(result):
    """Share of the figure's size."""
    return metrics.evaluate(result.reconstruction, truth, ["one-mirror"])["one-mirror"]["normalized_error"]


# %%
# By default a point that its own track and the rest of its frame contradict weighs little. ``reweigh=False`` turns this
# off, for comparison.

clean = error(jnrsfm.fit(landmarks, quick, progress=False))
plain = error(jnrsfm.fit(spoilt, quick, reweigh=False, progress=False))
result = jnrsfm.fit(spoilt, quick, progress=False)
print(
    f"no wrong points: {clean:.1%}; wrong points taken as they are: {plain:.1%}; by default: {error(result):.1%}"
)

# %%
# The report names the points that it doubts, so that you can look at them in the video.

found = next(item for item in result.quality["items"] if item["name"] == "outliers")
print(f"wrong: {wrong.mean():.1%}; doubted: {found['value']:.1%}")
print(result.quality["warnings"][0])

# %%
# Where the detector gives a likelihood, it weighs in proportion. Here the detector knows when it is wrong:

told = spoilt.replace(confidence=np.where(wrong, 0.05, 0.95).astype(np.float32))
bars = {
    "no wrong points": clean,
    "5 % wrong, taken as they are": plain,
    "5 % wrong, likelihood alone": error(jnrsfm.fit(told, quick, reweigh=False, progress=False)),
    "5 % wrong, by default": error(result),
    "5 % wrong, likelihood, by default": error(jnrsfm.fit(told, quick, progress=False)),
}
figure, axis = plt.subplots(figsize=(6, 2.6), layout="constrained")
axis.barh(list(bars), [100 * e for e in bars.values()], color=["C2", "C3", "C1", "C0", "C0"])
axis.invert_yaxis()
axis.set(xlabel="error, % of the figure's size")
plt.show()
