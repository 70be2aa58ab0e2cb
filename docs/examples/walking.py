"""
A walking figure with gaps
==========================

A camera goes round a figure that walks. Limbs are hidden for stretches of frames, as by a passer-by. Which 3D moves
like this?
"""

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import jnrsfm
from jnrsfm import datasets
from jnrsfm.methods import Pnd

landmarks, truth = datasets.make(
    "walker", seed=4, frames=90, clips=1, camera="orthographic", view="orbit", degrees_per_frame=4.0,
    limb_occlusion=0.2,
)  # fmt: skip
print(
    f"{landmarks.n_frames} frames, {landmarks.n_points} points, {np.mean(landmarks.visible):.0%} of them seen"
)

# %%
# ``landmarks.points2d`` has the shape ``(frame, point, 2)``, ``landmarks.visible`` says what was seen. Your own come
# from ``jnrsfm.read("video1DLC_resnet50.h5")``. The settings below are quick ones; leave them out for the defaults.

quick = Pnd(modes=16, cooling=(0.93,), floor=1e-3, starts=4)
result = jnrsfm.fit(landmarks, quick, out=Path(mkdtemp()) / "run", reference=truth, progress=False)
print(result.quality["verdict"]["text"])

# %%
# That is the page which the run wrote; hidden points are drawn open. We know the truth here, so we can score. The
# protocol ``one-mirror`` allows one depth reflection for the clip, no rotation and no scale.

for name, value in result.scores["one-mirror"].items():
    print(f"{name}: {value:.3f}")

# %%
# The same figure, from the camera and from the side that no camera has seen.

frame = 30
found = np.asarray(result.reconstruction.camera_points)[frame]
seen = np.asarray(landmarks.visible)[frame]
figure, axes = plt.subplots(1, 2, figsize=(6, 4), sharey=True, layout="constrained")
for axis, (across, title) in zip(axes, [(0, "as the camera sees it"), (2, "from the side")], strict=True):
    for a, b in np.asarray(landmarks.edges):
        axis.plot(found[[a, b], across], found[[a, b], 1], color="0.6")
    axis.scatter(found[seen, across], found[seen, 1], color="C0", zorder=3, label="seen")
    axis.scatter(
        found[~seen, across],
        found[~seen, 1],
        facecolor="white",
        edgecolor="C0",
        zorder=3,
        label="hidden, predicted",
    )
    axis.set(title=title, aspect="equal")
    axis.margins(0.3)
    axis.axis("off")
axes[0].invert_yaxis()
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize=8)
plt.show()
