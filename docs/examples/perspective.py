"""
How near may the camera be?
===========================

The solvers know cameras that are far away: orthographic ones, and weak-perspective ones, where each frame has a scale.
How much does a camera cost that is near? The same walk, seen from different distances.
"""

import matplotlib.pyplot as plt

import jnrsfm
from jnrsfm import datasets, metrics
from jnrsfm.methods import Pnd

quick = Pnd(modes=16, cooling=(0.93,), floor=1e-3, starts=4)
distances = (1.5, 2.5, 5.0, 10.0)
errors = {"orthographic": [], "weak-perspective": []}
for distance in distances:
    landmarks, truth = datasets.make(
        "walker", seed=4, frames=90, clips=1, camera="perspective", view="orbit", degrees_per_frame=4.0,
        distance=distance,
    )  # fmt: skip
    for camera, values in errors.items():
        found = jnrsfm.fit(landmarks, quick, camera=camera, progress=False).reconstruction
        score = metrics.evaluate(found, truth, ["one-mirror-scaled"])["one-mirror-scaled"]
        values.append(score["normalized_error"])
        print(f"distance {distance:4.1f}, {camera}: {score['normalized_error']:.1%}")

# %%
# Distances are in sizes of the figure: at 5, a person of 1.7 m is filmed from about 8 m. The error is a share of the
# figure's size, each frame scaled to the truth (``one-mirror-scaled``).

figure, axis = plt.subplots(figsize=(5, 3), layout="constrained")
for (camera, values), mark in zip(errors.items(), "os", strict=True):
    axis.plot(distances, [100 * v for v in values], marker=mark, label=camera)
axis.set(xlabel="distance of the camera / size of the figure", ylabel="error, %", ylim=(0, None))
axis.legend()
plt.show()

# %%
# Nearer than a few sizes, and with known intrinsics, take a method that has a perspective camera: ``paul`` or
# ``deep-nrsfm++`` with ``camera="perspective"``. They are trainings, and take minutes rather than seconds.
