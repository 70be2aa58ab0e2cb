"""Settings of the articulated figure."""

import dataclasses

from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True)
class Articulated:
    """Settings of the articulated figure; the standard deviations are shares of the object's size in the image."""

    bone: float = 0.03
    """Standard deviation of a bone's length, as a share of the mean bone."""
    motion: float = 0.0
    """Standard deviation of the second difference of a point's path; 0: 30 times that of the tracks less their noise
    (`geometry.track_noise`). A turning body is smoothest as a deep one that turns less: it must not weigh much."""
    pixel: float = 0.0
    """Standard deviation of an observation; 0: the larger of the noise of the first start and twice that of the
    tracks."""
    scale: float = 0.05
    """Standard deviation of the change of scale between frames (weak perspective)."""
    shape: float = 0.03
    """Differences between shapes below which they count as one."""
    depth: float = 0.0
    """Standard deviation of depths about the middle of the object; 0: where tracks are noisy the geometric mean of the
    object's two extents in the image, else nothing is said of it."""
    near: float = 0.2
    """Standard deviation of the object's size over its distance, where frames have a scale each (weak perspective)."""
    relief: float = 0.6
    """Standard deviation of the log of the object's depth, over all frames, about its extent in the image; where tracks
    are noisy it is not used, since there `depth` says more."""
    rounds: int = 100
    """Rounds of descent from each start, of 50 steps (`descent.INNER`) each."""
    looks: int = 3
    """How often each window of frames may take the depths that the others make likely, from each start."""
    sweeps: int = 1
    """Passes over the clips in which bones change sides."""

    def __post_init__(self):
        """Raise InputError for settings that cannot work."""
        for name in ("bone", "scale", "shape", "near", "relief"):
            if not getattr(self, name) > 0:
                raise InputError(f"{name} is {getattr(self, name)}: give a share above 0")
        for name in ("motion", "pixel", "depth"):
            if not getattr(self, name) >= 0:
                raise InputError(
                    f"{name} is {getattr(self, name)}: give a share above 0, or 0 for that of the tracks"
                )
        if self.rounds < 1 or min(self.looks, self.sweeps) < 0:
            raise InputError(
                f"rounds is {self.rounds}, looks {self.looks} and sweeps {self.sweeps}: give at least 1, 0 and 0"
            )
