"""The small pictures of the page on what one camera cannot tell, drawn from a generated figure."""

from pathlib import Path

import numpy as np

DOCS = Path(__file__).resolve().parent.parent
FOLDER = DOCS / "_made"
BLUE, ORANGE, GREY = "#1f6feb", "#d9730d", "#9aa4b2"


def _figure():
    """Camera-frame points of one pose, x right, y up, z away from the camera; and the bones."""
    from jnrsfm import datasets, metrics

    landmarks, truth = datasets.make(
        "walker", seed=4, frames=40, clips=1, camera="orthographic", view="orbit", degrees_per_frame=4.0
    )
    points = np.asarray(metrics.camera_points(truth))[12]
    return (points - points.mean(0)) * [1, -1, 1], np.asarray(landmarks.edges)


def _draw(axis, points, edges, across, colour, at=(0.0, 0.0), size=1.0):
    for a, b in edges:
        x, y = size * points[[a, b], across] + at[0], size * points[[a, b], 1] + at[1]
        axis.plot(x, y, color=colour, linewidth=2.2, solid_capstyle="round")


def _axes(count, width, height):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, count, figsize=(width, height), sharey=True, squeeze=False)
    for axis in axes[0]:
        axis.set_aspect("equal")
        axis.axis("off")
    return figure, axes[0]


def _save(figure, name):
    import matplotlib.pyplot as plt

    figure.tight_layout()
    figure.savefig(FOLDER / f"{name}.png", dpi=110, transparent=False, facecolor="white")
    plt.close(figure)


def scale():
    """A small figure near the camera and a large one far away, on the same rays."""
    points, edges = _figure()
    figure, (axis,) = _axes(1, 6, 2.3)
    head, foot = points[:, 1].max(), points[:, 1].min()
    for size, depth, colour in ((0.45, 1.8, BLUE), (1.0, 4.0, ORANGE)):
        _draw(axis, points, edges, 2, colour, (depth, 0), size)
    for y in (head, foot):
        axis.plot([0, 5.2], [0, y / 4.0 * 5.2], color=GREY, linewidth=1, linestyle="--")
    axis.plot([0], [0], marker=">", markersize=12, color="0.2")
    axis.text(0, -0.35, "camera", ha="center", fontsize=9)
    axis.text(1.8, -0.75, "small and near", ha="center", fontsize=9, color=BLUE)
    axis.text(4.0, -1.25, "large and far", ha="center", fontsize=9, color=ORANGE)
    _save(figure, "scale")


def reflection():
    """One image, and two figures that make it."""
    points, edges = _figure()
    figure, axes = _axes(3, 6, 2.6)
    for axis, across, sign, title in zip(
        axes,
        (0, 2, 2),
        (1, 1, -1),
        ("the image", "one shape, from the side", "its depth reflection"),
        strict=True,
    ):
        _draw(axis, points * [1, 1, sign], edges, across, ORANGE if sign < 0 else BLUE)
        axis.set_title(title, fontsize=9)
    _save(figure, "reflection")


def depth():
    """One image, and shapes of many depths that make it."""
    points, edges = _figure()
    figure, axes = _axes(4, 7, 2.6)
    titles = ("the image", "flat", "as it was", "twice as deep")
    for axis, factor, title in zip(axes, (None, 0.0, 1.0, 2.0), titles, strict=True):
        across = 0 if factor is None else 2
        _draw(
            axis,
            points * [1, 1, 1 if factor is None else factor],
            edges,
            across,
            BLUE if factor == 1.0 else GREY,
        )
        axis.set_title(title, fontsize=9)
    _save(figure, "depth")


def turning():
    """Cameras from above: a tripod before an object that keeps its side, and views from all round."""
    figure, axes = _axes(2, 6, 2.6)
    for axis, angles, title in zip(
        axes, (np.zeros(1), np.linspace(0, 2 * np.pi, 9)[:-1]),
        ("no depth: one side is all that is seen", "depth: every side is seen"), strict=True,
    ):  # fmt: skip
        t = np.linspace(0, 2 * np.pi, 60)
        axis.fill(0.42 * np.cos(t), 0.25 * np.sin(t), color=BLUE, alpha=0.8)
        for angle in angles:
            x, y = 1.25 * np.sin(angle), -1.25 * np.cos(angle)
            axis.annotate(
                "",
                (0.5 * x, 0.5 * y),
                (x, y),
                arrowprops={"arrowstyle": "->", "color": "0.3", "linewidth": 1.2},
            )
            axis.plot([x], [y], marker="s", color="0.3", markersize=7)
        axis.set(xlim=(-1.5, 1.5), ylim=(-1.5, 1.5))
        axis.set_title(title, fontsize=9)
    _save(figure, "turning")


def setup(app):
    """Draw before pages are read; pictures that are there stay."""
    app.connect("builder-inited", lambda app: write())
    return {"parallel_read_safe": True}


def write():
    """Draw what is not there yet."""
    FOLDER.mkdir(exist_ok=True)
    for draw in (scale, reflection, depth, turning):
        if not (FOLDER / f"{draw.__name__}.png").is_file():
            draw()
