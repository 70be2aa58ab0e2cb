"""
Several clips in one fit
========================

Short clips of the same animal or person belong into one fit: they share a distribution of shapes, and each sees it from
other sides. On the command line, ``jnrsfm fit "clips/*.csv"`` makes a clip of each file.
"""

import matplotlib.pyplot as plt
import numpy as np

import jnrsfm
from jnrsfm import datasets, metrics
from jnrsfm.methods import Pnd

quick = Pnd(modes=16, cooling=(0.93,), floor=1e-3, starts=4)
landmarks, truth = datasets.make(
    "walker",
    seed=3,
    frames=90,
    clips=3,
    camera="orthographic",
    view="orbit",
    degrees_per_frame=4.0,
    gaits=("walk",),
)
clips = np.asarray(landmarks.sequence)
print(f"frames of each clip: {np.bincount(clips)}")


def error(found, real):
    """Share of the figure's size, one depth reflection allowed for each clip."""
    return metrics.evaluate(found, real, ["one-mirror"])["one-mirror"]["normalized_error"]


# %%
# All three at once, and each alone. A clip of thirty frames shows a third of a turn.

together = jnrsfm.fit(landmarks, quick, progress=False).reconstruction
rows = []
for clip in range(3):
    part = clips == clip
    alone = jnrsfm.fit(landmarks.select(part), quick, progress=False).reconstruction
    rows.append((error(alone, truth.select(part)), error(together.select(part), truth.select(part))))
    print(f"clip {clip}: alone {rows[-1][0]:.1%}, together {rows[-1][1]:.1%}")

# %%
# ``sequence`` says which frames follow each other, so nothing is compared across a cut. The depth reflection of a clip
# is resolved by continuity; ``mirror_margin`` says how surely, frame by frame.

figure, (left, right) = plt.subplots(1, 2, figsize=(8, 2.8), layout="constrained")
at = np.arange(3)
left.bar(at - 0.2, [100 * r[0] for r in rows], 0.4, label="alone")
left.bar(at + 0.2, [100 * r[1] for r in rows], 0.4, label="together")
left.set(xticks=at, xlabel="clip", ylabel="error, %")
left.legend()
for clip in range(3):
    right.plot(
        np.flatnonzero(clips == clip), np.asarray(together.mirror_margin)[clips == clip], label=f"clip {clip}"
    )
right.set(xlabel="frame", ylabel="margin of the reflection", ylim=(0, 1.05))
plt.show()
