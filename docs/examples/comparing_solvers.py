"""
Solvers side by side
====================

The published solvers take the same landmarks and are scored by the same protocol. Here: one clip of a walking figure,
some points hidden. On the classic sequences the order is another one; see the :doc:`experiments
</experiments/factorization>`.
"""

import matplotlib.pyplot as plt

import jnrsfm
from jnrsfm import datasets, methods

landmarks, truth = datasets.make(
    "walker",
    seed=4,
    frames=90,
    clips=1,
    camera="orthographic",
    view="orbit",
    degrees_per_frame=4.0,
    missing=0.1,
)
settings = [
    methods.Rigid(),
    methods.Trajectory(rank=6),
    methods.Csf(rank=3, steps=10),
    methods.Bmm(rank=4),
    methods.Pnd(modes=16, cooling=(0.93,), floor=1e-3, starts=4),
]

# %%
# A method is an instance of its settings. ``rank`` is the number of shapes or of cosines that a method may use; without
# it, it is chosen by held-out points, which takes longer.

errors = {}
for config in settings:
    result = jnrsfm.fit(landmarks, config, reference=truth, progress=False)
    name = type(config).__name__.lower()
    errors[name] = result.scores["one-mirror"]["normalized_error"]
    print(f"{name:>10}: {errors[name]:6.1%}")

# %%
# The error is a share of the figure's size, under one depth reflection for the clip.

figure, axis = plt.subplots(figsize=(6, 2.4), layout="constrained")
axis.barh(list(errors), [100 * e for e in errors.values()])
axis.invert_yaxis()
axis.set(xlabel="error, % of the figure's size")
plt.show()
