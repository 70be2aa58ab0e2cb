"""
From photographs to 3D
======================

A landmark method lifts the 2D labels of some photographs, and teaches an image network, which lifts photographs that
nobody labelled. Nobody gives 3D.

This example trains for some minutes, so it is not run when the pages are built:
``python docs/examples/photographs.py``.
"""

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np

import jnrsfm
from jnrsfm import datasets
from jnrsfm.methods import Student

# %%
# Rendered photographs of two people, each filmed by a moving camera. Yours come from ``jnrsfm.read("folder")``.

made = datasets.render_figures(datasets.RenderedFigures(images=80, clip=40, size=48, degrees_per_frame=9.0))
images = made.labelled()
late = np.arange(80) % 40 >= 34
figure, axes = plt.subplots(1, 6, figsize=(8, 1.6))
for axis, i in zip(axes, range(0, 78, 13), strict=True):
    axis.imshow(images.pixels.read(i))
    seen = np.asarray(images.landmarks.visible)[i]
    axis.plot(*np.asarray(images.landmarks.points2d)[i][seen].T, "o", color="C1", markersize=2)
    axis.axis("off")
plt.show()

# %%
# A tiny network, a short training: enough to see how it goes, not to be good. :doc:`/photographs` says what to expect
# of a real one.

settings = Student(
    teacher="rigid", size=24, backbone="tiny", batch=16, steps=100, chunk=25, warmup=20, locate="no"
)
result = jnrsfm.fit(
    images.select(~late), settings, out=Path(mkdtemp()) / "run", reference=made.reference.select(~late), progress=False
)  # fmt: skip
print(result.quality["verdict"]["text"])
print(f"labels found within a tenth of the box, on held-out photographs: {result.diagnostics['pck']}")

# %%
# The later photographs of the same people, lifted from their pixels.

lifted = result.model.lift(images.select(late))
points = np.asarray(lifted.points2d)
figure, axes = plt.subplots(2, 6, figsize=(8, 3))
for column, i in enumerate(range(0, 12, 2)):
    axes[0, column].imshow(images.pixels.read(int(np.flatnonzero(late)[i])))
    shape = np.asarray(lifted.camera_points)[i]
    for a, b in np.asarray(images.landmarks.edges):
        axes[0, column].plot(*points[i, [a, b]].T, color="C1", linewidth=1)
        axes[1, column].plot(shape[[a, b], 2], shape[[a, b], 1], color="C0", linewidth=1)
    axes[1, column].set(aspect="equal")
    axes[1, column].invert_yaxis()
for axis in axes.ravel():
    axis.axis("off")
axes[0, 0].set_title("photographs", fontsize=8, loc="left")
axes[1, 0].set_title("from the side", fontsize=8, loc="left")
plt.show()
