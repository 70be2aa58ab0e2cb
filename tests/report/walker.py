"""A small synthetic walker for the report's tests."""

import numpy as np

from jnrsfm.types import Cameras, Landmarks, Reconstruction

NAMES = (
    "pelvis", "chest", "head", "left hip", "left knee", "left foot", "right hip", "right knee", "right foot",
    "left shoulder", "left elbow", "left hand", "right shoulder", "right elbow", "right hand",
)  # fmt: skip
EDGES = np.array([
    [0, 1], [1, 2], [0, 3], [3, 4], [4, 5], [0, 6], [6, 7], [7, 8],
    [1, 9], [9, 10], [10, 11], [1, 12], [12, 13], [13, 14],
])  # fmt: skip
SYMMETRIC = np.array([[3, 6], [4, 7], [5, 8], [9, 12], [10, 13], [11, 14]])


def walker_shape(frames: int) -> np.ndarray:
    """`(frame, 15, 3)`: x to the walker's left, y down, z backwards; about 1.7 high."""
    phase = np.linspace(0, 4 * np.pi, frames, endpoint=False)
    x = np.zeros((frames, 15, 3))
    x[:, 1] = (0, -0.5, 0)
    x[:, 2] = (0, -0.75, -0.03)

    def limb(root, angle, bend, lengths):
        upper = root + lengths[0] * np.stack([0 * angle, np.cos(angle), np.sin(angle)], -1)
        return upper, upper + lengths[1] * np.stack(
            [0 * angle, np.cos(angle + bend), np.sin(angle + bend)], -1
        )

    for side, hip, shoulder, lag in ((1, 3, 9, 0.0), (-1, 6, 12, np.pi)):
        x[:, hip] = (0.1 * side, 0.02, 0)
        x[:, shoulder] = (0.19 * side, -0.48, 0)
        swing = 0.5 * np.sin(phase + lag)
        knee = 0.45 + 0.4 * np.cos(phase + lag)
        x[:, hip + 1], x[:, hip + 2] = limb(x[:, hip], swing, knee, (0.43, 0.42))
        x[:, shoulder + 1], x[:, shoulder + 2] = limb(
            x[:, shoulder], -0.8 * swing, -0.5 + 0 * swing, (0.28, 0.25)
        )
    return x


def rotation(yaw: float, pitch: float = 0.0) -> np.ndarray:
    c, s, d, e = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    return np.array([[1, 0, 0], [0, d, -e], [0, e, d]]) @ np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def random_rotations(rng: np.random.Generator, frames: int) -> np.ndarray:
    q, r = np.linalg.qr(rng.normal(size=(frames, 3, 3)))
    q = q * np.sign(np.einsum("fii->fi", r))[:, None]
    return q * np.linalg.det(q)[:, None, None]


def example(
    frames: int = 48,
    seed: int = 0,
    noise: float = 0.02,
    cameras: str = "orbit",
    fps: float | None = 24.0,
    edges: bool = True,
    clips: int = 1,
):
    """Landmarks, a noisy reconstruction and its truth."""
    rng = np.random.default_rng(seed)
    shape = walker_shape(frames)
    if cameras == "orbit":
        turn = np.stack([rotation(0.4 + 0.02 * f, 0.15) for f in range(frames)])
    else:
        turn = random_rotations(rng, frames)
    move = np.zeros((frames, 3))
    move[:, 0] = 320 + 2 * np.arange(frames)
    move[:, 1] = 240
    scale = np.full(frames, 180.0)
    camera = Cameras(turn, move, scale, model="weak-perspective")
    truth = Reconstruction(shape, camera, mirror="reference")
    image = np.asarray(truth.points2d) + rng.normal(size=(frames, 15, 2))
    visible = rng.random((frames, 15)) > 0.12
    visible[frames // 3 : frames // 2, 9:12] = False
    score = np.where(visible, 0.01, 0.08) * rng.uniform(0.5, 1.5, (frames, 15))
    estimate = shape + noise * rng.normal(size=shape.shape) * np.where(visible, 1.0, 2.5)[..., None]
    clip = None if clips == 1 else np.repeat(np.arange(clips), -(-frames // clips))[:frames]
    landmarks = Landmarks(
        np.where(visible[..., None], image, 0.0), visible, names=NAMES, fps=fps, sequence=clip,
        edges=EDGES if edges else None, symmetric=SYMMETRIC if edges else None,
    )  # fmt: skip
    result = Reconstruction(estimate, camera, visible=visible, score=score, mirror="sequence",
                            mirror_margin=rng.uniform(0.5, 1, frames))  # fmt: skip
    return landmarks, result, truth


def history(restarts: int = 4, rows: int = 60) -> list[dict]:
    """A loss that falls, one restart dropped on the way."""
    rng = np.random.default_rng(1)
    out = []
    for i in range(rows):
        loss = [
            float(0.3 * np.exp(-i / (9 + 3 * r)) + 0.01 * (1 + r) + 0.002 * rng.random())
            for r in range(restarts)
        ]
        row = {
            "step": 50 * (i + 1),
            "loss": loss,
            "steps_per_s": 100.0,
            "phase": "fit" if i < 40 else "mirror",
        }
        if i > 30 and restarts > 1:
            row["loss"][-1] = None
        if i % 10 == 9:
            row["heldout"] = 0.05 + 0.2 * float(np.exp(-i / 12))
        out.append(row)
    return out


QUALITY = {
    "items": [
        {"name": "held_out_reprojection", "value": 0.021, "unit": "fraction of object size",
         "verdict": "good", "explain": "error at 120 observed points that were hidden from the fit"},
        {"name": "bone_length_variation", "value": 0.063, "unit": "fraction", "verdict": "fair",
         "explain": "deviation over mean of each edge's length"},
        {"name": "camera_motion", "value": 41.0, "unit": "degrees", "verdict": "good", "explain": "enough"},
        {"name": "restart_spread", "value": None, "unit": "", "verdict": "unknown", "explain": "one run"},
    ],
    "warnings": ["The points 'left hand' and 'right hand' are hidden in a third of the frames."],
}  # fmt: skip
SETTINGS = {
    "method": {"name": "deep-nrsfm++", "levels": 6, "dictionary": [125, 64, 32, 16, 8, 4]},
    "camera": "weak-perspective",
    "training": {"steps": 3000, "batch": 128, "rate": 1e-3, "clip": None},
}
SCORES = {
    "frame-mirror": {"normalized_error": 0.0312, "mpjpe": 0.0211},
    "one-mirror": {"normalized_error": 0.034, "handedness": 0.98},
    "kong": {"normalized_error": 0.028},
}
