"""
How sure is each point?
=======================

The Procrustean normal distribution is a distribution: beside the likeliest shape it says how far each point may be from
there, given what was seen. Hidden points are less sure than seen ones, and depth less than x and y.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np

from jnrsfm import datasets
from jnrsfm.factorization import measure, search_cameras
from jnrsfm.shape_prior import ProcrusteanNormal

landmarks, truth = datasets.make(
    "walker", seed=4, frames=90, clips=1, camera="orthographic", view="orbit", degrees_per_frame=4.0,
    limb_occlusion=0.2,
)  # fmt: skip

# %%
# The parts of the method one by one: measurements of size 1, first cameras, then the distribution with the cameras by
# expectation maximisation. ``jnrsfm.fit(landmarks, method="pnd")`` does this, and more.

data = measure(landmarks, "orthographic", rank=3)
rows, _ = search_cameras(data.points, 3, 4, 0)
with jax.enable_x64(True):
    normal, state = ProcrusteanNormal.fit(
        jnp.asarray(data.observed), jnp.asarray(data.weights), jnp.asarray(rows),
        modes=16, steps=160, cooling=0.93, floor=1e-3,
    )  # fmt: skip
    images = jnp.swapaxes(jnp.asarray(data.observed) - state.shift[..., None], 1, 2)
    posterior = normal.conditional(images, jnp.asarray(data.weights), state.rows)
    drawn = normal.sample(jax.random.key(0), (40,))
spread, seen = np.asarray(posterior.spread), np.asarray(landmarks.visible)
print(
    f"spread of seen points {np.median(spread[seen]):.3f}, of hidden ones {np.median(spread[~seen]):.3f} (size 1)"
)

# %%
# Is it right about itself? The true error of the hidden points, sorted by what the distribution said. The order is
# worth something, the size is not: the spread knows of noise and of the shapes that were seen, and not of a fit that
# ended in a wrong place. The ``deviation`` of a result of ``jnrsfm.fit`` takes such a spread for how an error is shared
# out among the points, and the size of it from what the whole fit shows: lengths, starts that agree, the image.

found = np.einsum("fij,fpj->fpi", np.asarray(state.rows), np.asarray(posterior.mean))
real = np.asarray(truth.points2d) - np.asarray(data.centre)[:, None]
real = real / np.asarray(data.size)[:, None, None]
gap = np.linalg.norm(found + np.asarray(state.shift)[:, None] - real, axis=-1)[~seen]
order = np.argsort(spread[~seen])
for part, name in zip(
    np.array_split(order, 3), ("surest third", "middle third", "least sure third"), strict=True
):
    print(
        f"{name}: said {np.mean(spread[~seen][part]):.3f}, was {np.sqrt(np.mean(gap[part] ** 2)):.3f} in the image"
    )

# %%
# Forty shapes that the distribution thinks likely, and one frame with ten times its spread as circles.

figure, (left, right) = plt.subplots(1, 2, figsize=(7, 4))
frame = int(np.argmin(seen.sum(1)))
for shape in np.asarray(drawn):
    turned = shape @ np.asarray(state.rows)[frame].T
    for a, b in np.asarray(landmarks.edges):
        left.plot(turned[[a, b], 0], turned[[a, b], 1], color="C0", alpha=0.08)
for a, b in np.asarray(landmarks.edges):
    right.plot(found[frame, [a, b], 0], found[frame, [a, b], 1], color="0.6")
for p, (x, y) in enumerate(found[frame]):
    right.add_patch(
        plt.Circle((x, y), 10 * spread[frame, p], color="C0" if seen[frame, p] else "C3", alpha=0.4)
    )
for axis, title in ((left, "drawn from the distribution"), (right, f"frame {frame}: seen blue, hidden red")):
    axis.set(title=title, aspect="equal")
    axis.invert_yaxis()
    axis.axis("off")
plt.show()
