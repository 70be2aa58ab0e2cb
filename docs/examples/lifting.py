"""
Lift new frames with a trained model
====================================

A solver reconstructs the frames that it is given. A method that learns keeps a model, which lifts frames that it has
not seen, one by one, in one pass: later recordings, a stream.

This example trains for some minutes, so it is not run when the pages are built:
``python docs/examples/lifting.py``.
"""

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import jnrsfm
from jnrsfm import datasets, metrics
from jnrsfm.methods import Prn

landmarks, truth = datasets.make(
    "walker",
    seed=5,
    frames=120,
    clips=4,
    camera="orthographic",
    view="orbit",
    degrees_per_frame=4.0,
    gaits=("walk",),
)
clip = np.asarray(landmarks.sequence)
known, new = clip < 3, clip == 3

# %%
# Three clips to train on, one to lift. ``prn`` begins at the depths of a solver, so a short training will do here; a
# ``deep-nrsfm++`` on thousands of frames is the thorough way.

quick = Prn(steps=200, width=64, window=64)
run = Path(mkdtemp()) / "run"
result = jnrsfm.fit(
    landmarks.select(known), quick, out=run, progress=False
)  # fmt: skip
print(result.quality["verdict"]["text"])

# %%
# Later, or elsewhere: ``jnrsfm lift run/ new.csv --out new_3d.npz`` on the command line.

model = jnrsfm.load(run)
lifted = model.lift(landmarks.select(new))
for name, found, real in (
    ("frames of the training", result.reconstruction, truth.select(known)),
    ("new frames", lifted, truth.select(new)),
):
    score = metrics.evaluate(found, real, ["one-mirror"])["one-mirror"]
    print(f"{name}: error {score['normalized_error']:.1%} of the figure's size")

# %%
# Some of the new frames from the side, the truth in grey.

figure, axes = plt.subplots(1, 5, figsize=(8, 2.6), sharey=True)
points, real = np.asarray(lifted.camera_points), np.asarray(metrics.camera_points(truth.select(new)))
points, real = points - points.mean(1, keepdims=True), real - real.mean(1, keepdims=True)
sign = np.sign((points[..., 2] * real[..., 2]).sum())  # one depth reflection for the clip
for axis, frame in zip(axes, range(0, 30, 6), strict=True):
    for a, b in np.asarray(landmarks.edges):
        axis.plot(real[frame, [a, b], 2], real[frame, [a, b], 1], color="0.8", linewidth=4)
        axis.plot(sign * points[frame, [a, b], 2], points[frame, [a, b], 1], color="C0")
    axis.set(title=f"frame {frame}", aspect="equal")
    axis.axis("off")
axes[0].invert_yaxis()
plt.show()
