"""
Hand on: TRC, BVH, GLB, with units
==================================

One camera never sees the scale. One known length gives it: here the thigh of the figure, 43 cm.
"""

from pathlib import Path
from tempfile import mkdtemp

import numpy as np

import jnrsfm
from jnrsfm import datasets, io
from jnrsfm.methods import Pnd

quick = Pnd(modes=16, cooling=(0.93,), floor=1e-3, starts=4)
landmarks, truth = datasets.make(
    "walker",
    seed=4,
    frames=90,
    clips=1,
    camera="perspective",
    view="orbit",
    degrees_per_frame=4.0,
    distance=8.0,
)
folder = Path(mkdtemp())
result = jnrsfm.fit(landmarks, quick, camera="weak-perspective", out=folder / "run", progress=False)
print(f"units of the fit: {result.reconstruction.gauge}")

# %%
# Every format of :doc:`/files` is one call; its end names it. On the command line:
# ``jnrsfm convert run walk.trc --scale-by left_hip-left_knee=0.43``.

for name in ("walk.trc", "walk.bvh", "walk.glb", "walk.csv", "walk.anipose.csv"):
    for file in io.convert(folder / "run", folder / name, scale_by="left_hip-left_knee=0.43"):
        print(f"{file.name:>18}  {file.stat().st_size / 1024:7.1f} KB")

# %%
# What is in a TRC, which OpenSim opens: metres, y up.

print("\n".join(line[:88] for line in (folder / "walk.trc").read_text().splitlines()[:8]))

# %%
# Read back, lengths that nobody gave come out in metres too. The figure's shank is 42 cm, its upper arm 31 cm.

points = io.parse(folder / "walk.trc").points
points = points.reshape(-1, landmarks.n_points, points.shape[-1])
for bone in (("left_hip", "left_knee"), ("left_knee", "left_ankle"), ("left_shoulder", "left_elbow")):
    a, b = (landmarks.names.index(n) for n in bone)
    length = np.linalg.norm(points[:, a] - points[:, b], axis=-1)
    print(f"{bone[0]} to {bone[1]}: {100 * np.median(length):.1f} cm")
