"""What every method is to the rest of the library: an entry of the registry, and what a fit gives back."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

from jnrsfm.training import Session
from jnrsfm.types import Landmarks, Reconstruction, ResultCode


@runtime_checkable
class Model(Protocol):
    """A trained model: lifts frames that it has not seen."""

    @property
    def camera(self) -> str:
        """The camera model that it was trained for."""
        ...

    def lift(self, landmarks: Any) -> Any:
        """3D of new frames with the same points (or of new images), one forward pass."""
        ...

    def save(self, path: Path) -> None:
        """Write it to one npz file."""
        ...


class Latent(NamedTuple):
    """What a method with a latent space shows of it: `codes (frame, k)` of the frames, and the shapes `between (step,
    point, 3)` along the line between two codes that lie far apart, as a camera sees them."""

    codes: Any
    between: Any


class Fitted(NamedTuple):
    """What a fit gives: the result, `reconstruction`, of the type that the method `gives`; the model of a learned
    method; label-free evidence for the report.

    `heldout` is a dict with `error`, `baseline`, `count`, `note` (see `metrics.assess`); `restarts`
    holds the camera-frame shapes `(restart, frame, point, 3)` of the restarts alive at the end, the chosen
    one first; `diagnostics` are plain values for the record; `latent` is for the picture of the codes;
    `code` says how the fit ended; `said` are warnings of the method itself, with which no fit is called good;
    `keeps_lengths`: bones have constant lengths because the method wants them so, which is no evidence of anything.
    """

    reconstruction: Any
    model: Model | None = None
    heldout: dict[str, Any] | None = None
    restarts: Any | None = None
    diagnostics: dict[str, Any] = {}  # noqa: RUF012  (never changed)
    latent: Latent | None = None
    code: ResultCode = ResultCode.CONVERGED
    said: tuple[str, ...] = ()
    keeps_lengths: bool = False


@dataclasses.dataclass(frozen=True)
class MethodInfo:
    """A method of the registry.

    `fit(landmarks, camera, config, seed, session)` does the work; `load(path)` reads a saved model (learned
    methods). `takes` and `gives` are the types of its input and of its result, by which readers, checks, panels of the
    report and verbs are chosen. `cites` are keys of `references.bib`, what a fit by it stands on, its own paper first.
    `labels`: whether images must have labelled points. The other fields say what the method
    can take, for users and for the README.
    """

    name: str
    kind: Literal["learned", "solver"]
    summary: str
    cameras: tuple[str, ...]
    missing: bool
    needs_order: bool
    unseen: bool
    source: str
    config: type
    fit: Callable[[Any, str, Any, int, Session], Fitted]
    load: Callable[[Path], Model] | None = None
    state: str = "ready"
    takes: type = Landmarks
    gives: type = Reconstruction
    cites: tuple[str, ...] = ()
    labels: bool = True
