"""The verbs: frozen dataclasses whose fields are the arguments; `run` calls the library."""

import contextlib
import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from jnrsfm.cli import worker
from jnrsfm.cli.answers import Answer, describe, fit_answer, number, summary, table, yes_or_no
from jnrsfm.cli.files import Clean, Convert, Info
from jnrsfm.cli.finding import Completion, View
from jnrsfm.cli.reading import Reader, Verb, read_said
from jnrsfm.config import DEFAULT_METHOD
from jnrsfm.errors import InputError

Camera = Literal["auto", "orthographic", "weak-perspective", "perspective"]


@dataclasses.dataclass(frozen=True)
class Fit(Reader):
    """Reconstruct 3D shapes and cameras from 2D landmarks or labelled images, into a run folder."""

    input: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """2D landmarks of any pose tool (several, or a pattern, make a clip each), or labelled images for the methods that
    take them (jnrsfm info FILE says what is in it)."""
    out: Annotated[Path, arg(metavar="RUN")]
    """Run folder: new or empty, unless --resume."""
    method: str = DEFAULT_METHOD
    """Method (jnrsfm methods lists them; auto chooses among those of landmarks); --method NAME --help shows the
    settings of another."""
    camera: Camera = "auto"
    """Camera model; auto takes the file's, else orthographic."""
    restarts: Annotated[int | None, arg(metavar="N")] = None
    """Independent starts, of which the best without labels is kept; unset leaves it to the method."""
    seed: int = 0
    """Seed of all randomness."""
    resume: bool = False
    """Go on with the interrupted run in --out."""
    reference: Annotated[Path | None, arg(metavar="FILE")] = None
    """File with 3D to compare with in the report; never used to fit or to choose."""
    config: Annotated[Path | None, arg(metavar="FILE.yaml")] = None
    """Method settings to start from, a run's config.yaml for example; options override it."""
    repair_swaps: bool = False
    """Exchange left and right where a detector took one for the other in some frames of a clip."""
    drop_empty: bool = False
    """Leave out the frames that show too few points for the camera model; else they come back interpolated or NaN."""
    quiet: bool = False
    """No progress on stderr."""

    def run(self) -> Answer:
        """Read, fit, summarise."""
        info = method_info(self.method)
        if self.camera != "auto" and self.camera not in info.cameras:
            raise InputError(
                f"method {info.name} has no {self.camera} camera: choose from {', '.join(info.cameras)}"
            )
        from jnrsfm import api, io
        from jnrsfm.depth_maps import FramePairs
        from jnrsfm.scenes import DynamicScene
        from jnrsfm.types import LabelledImages

        takes = getattr(info, "takes", None)
        images = takes is LabelledImages
        landmarks: Any
        if takes is DynamicScene:
            landmarks = io.read_scene(_only(self.input), **self.reading)
        elif takes is FramePairs:
            landmarks = io.stereo.read_pairs(_only(self.input))
        elif images:
            landmarks = io.read_images(_only(self.input), **self.reading)
        else:
            _refuse_images(self.input, info.name)
            landmarks = read_said(self.input, self.reading, self.quiet)
        reference = _read_reference(self.reference)
        camera = None if self.camera == "auto" else self.camera
        if self.drop_empty and takes not in (LabelledImages, DynamicScene, FramePairs):
            landmarks, kept = io.drop_empty(landmarks, camera or landmarks.camera or "orthographic")
            reference = None if reference is None else reference.select(kept)
        work = functools.partial(
            api.fit,
            landmarks,
            method=info.name,
            camera=camera,
            restarts=self.restarts,
            seed=self.seed,
            out=self.out,
            resume=self.resume,
            reference=reference,
            config=self.settings_of(info),
            progress=not self.quiet,
            repair_swaps=self.repair_swaps,
        )
        with _named(self.input[0]):
            # a learned method stops at its next checkpoint by itself; a solver keeps none
            result = worker.run(work) if info.kind == "solver" else work()
        return fit_answer(info.name, result, self.out)

    def settings_of(self, method: Any) -> Any:
        """The method's config as the command line chose it, of the method's own class."""
        chosen = self.settings  # type: ignore[attr-defined]  # the field that the parser adds
        return method.config(**{f.name: getattr(chosen, f.name) for f in dataclasses.fields(method.config)})

    def resume_hint(self) -> str:
        """The run goes on from its last checkpoint, where there is one: solvers write none."""
        begun = any((self.out / "checkpoints").glob("*"))
        return "; the same command with --resume goes on from the last checkpoint" if begun else ""


@dataclasses.dataclass(frozen=True)
class Demo(Verb):
    """Train on the embedded example (a dog-like animal seen by a moving camera), or on photographs with --images."""

    out: Annotated[Path, arg(metavar="RUN")] = Path("demo")
    """Run folder: new or empty."""
    seed: int = 0
    """Seed of the example and of the training."""
    images: bool = False
    """Rendered photographs of people with 2D labels, and others that training does not see, lifted."""
    landmarks: Annotated[Path | None, arg(metavar="FILE")] = None
    """Train nothing: write the 2D landmarks of a walking figure, as a pose tool would (walkDLC.csv: DeepLabCut's)."""
    quiet: bool = False
    """No progress on stderr."""

    def run(self) -> Answer:
        """Generate, fit, summarise."""
        from jnrsfm import demos

        if self.landmarks is not None:
            files = demos.write_walk(self.landmarks, seed=self.seed)
            return Answer(
                {"files": files}, f"wrote {', '.join(map(str, files))}: 2D landmarks of a walking figure"
            )
        run = demos.demo_images if self.images else demos.demo
        result = run(self.out, seed=self.seed, progress=not self.quiet)
        answer = fit_answer("student" if self.images else demos.DEMO_METHOD, result, self.out)
        if self.images:
            answer = dataclasses.replace(answer, text=f"{answer.text} and {self.out / 'unseen.html'}")
        return answer


@dataclasses.dataclass(frozen=True)
class Lift(Reader):
    """Apply a learned model to frames or photographs that it has not seen, one forward pass."""

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder of jnrsfm fit."""
    input: Positional[Path]
    """2D landmarks with the same points; photographs (a folder, a file, a video) for a model of images; a video or a
    folder of frames for a model of depth."""
    out: Annotated[Path, arg(metavar="FILE.npz|FOLDER")]
    """Reconstruction to write; of a model of depth, the folder of its maps."""
    known: Annotated[Path | None, arg(metavar="FILE.csv")] = None
    """Depths that are known, lines of frame,x,y,depth (two at least): a model of depth then gives metres."""
    drop_empty: bool = False
    """Leave out the frames that show too few points; the others keep their numbers."""
    report: Annotated[Path | None, arg(metavar="FILE.html")] = None
    """Write the page of the lifted frames, with their quality report."""
    quiet: bool = False
    """No progress on stderr."""

    def run(self) -> Answer:
        """Load, lift, write."""
        of_depth = _gives_depth(self.run_folder)
        if not of_depth:
            _check_output(self.out, self.input)
        from jnrsfm import api, io
        from jnrsfm.types import LabelledImages

        model: Any = api.load(self.run_folder)
        if of_depth:
            from jnrsfm.cli import depth

            return depth.lift(
                self.run_folder, model.model, self.input, self.out, self.known, self.report, self.quiet
            )
        if self.known is not None:
            raise InputError("--known: known depths are for a model of depth (fit --method depth-pair)")
        images = model.takes is LabelledImages or io.holds_images(self.input, self.format)
        given: Any = (
            io.read_images(self.input, **self.reading) if images else read_said([self.input], self.reading)
        )
        if self.drop_empty and not images:
            given, _ = io.drop_empty(given, model.camera)
        reconstruction = model.lift(given, str(self.input))
        about, page, quality, lines = summary(reconstruction), None, None, []
        if isinstance(given, LabelledImages):
            reconstruction.save(self.out)
            io.write_beside(self.out.parent, reconstruction, self.out.stem)
            page = api.write_image_page(self.out.with_suffix(".html"), given, reconstruction)
        else:
            from jnrsfm import metrics, report

            reconstruction, quality = metrics.judged(given, reconstruction)
            reconstruction.save(self.out)
            lines = ["", metrics.format_quality(quality)]
            if self.report is not None:
                page = report.write_report(
                    self.report, report.Contents(reconstruction, given, quality=quality)
                )
        lines = [f"wrote {self.out}: {describe(about)}", *lines, *([f"open {page}"] if page else [])]
        return Answer({"out": self.out, "page": page, "quality": quality, **about}, "\n".join(lines))


@dataclasses.dataclass(frozen=True)
class Eval(Verb):
    """Score a reconstruction against 3D reference under named protocols."""

    reconstruction: Annotated[Positional[Path], arg(metavar="RECONSTRUCTION.npz")]
    """Written by fit or lift."""
    reference: Annotated[Positional[Path], arg(metavar="REFERENCE.npz")]
    """The same frames and points, with points3d."""
    protocol: Annotated[tuple[str, ...], arg(metavar="NAME ...")] = ()
    """Protocols (docs/conventions.md); all that apply where none is named."""

    def run(self) -> Answer:
        """Read both, evaluate."""
        from jnrsfm import io, metrics

        reconstruction = io.read_reconstruction(self.reconstruction)
        reference = _read_reference(self.reference)
        protocols = metrics.evaluate(reconstruction, reference, list(self.protocol) or None)
        rows = [("protocol", "metric", "value")]
        rows += [(p, m, number(v)) for p, values in protocols.items() for m, v in values.items()]
        return Answer({"protocols": protocols}, table(rows))


@dataclasses.dataclass(frozen=True)
class Report(Verb):
    """Write report.html and report.png of a run folder again."""

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder of jnrsfm fit."""
    reference: Annotated[Path | None, arg(metavar="FILE")] = None
    """File with 3D to compare with; the run's own where there is one."""

    def run(self) -> Answer:
        """Rewrite the two files."""
        from jnrsfm import api

        reference = _read_reference(self.reference)
        page = api.write_run_report(self.run_folder, reference=reference)
        return Answer({"report": page}, f"wrote {page}")


@dataclasses.dataclass(frozen=True)
class Methods(Verb):
    """List the methods and what each can take."""

    def run(self) -> Answer:
        """From the registry."""
        from jnrsfm.methods import METHODS

        fields = ("name", "kind", "summary", "cameras", "missing", "needs_order", "unseen", "source", "state")
        data = [{name: getattr(m, name) for name in fields} for m in METHODS.values()]
        rows = [("method", "kind", "cameras", "gaps", "unseen frames", "state", "what")]
        rows += [
            (
                m.name,
                m.kind,
                ", ".join(m.cameras),
                yes_or_no(m.missing),
                yes_or_no(m.unseen),
                m.state,
                m.summary,
            )
            for m in METHODS.values()
        ]
        return Answer({"methods": data}, table(rows))


VERBS: dict[str, type[Verb]] = {
    "demo": Demo, "fit": Fit, "lift": Lift, "eval": Eval, "report": Report, "view": View, "convert": Convert,
    "clean": Clean, "info": Info, "methods": Methods, "completion": Completion,
}  # fmt: skip


def method_info(name: str) -> Any:
    """The registry's entry. Raises InputError for an unknown name, with the known ones."""
    from jnrsfm.methods import METHODS

    if name not in METHODS:
        raise InputError(f"unknown method {name!r}: choose from {', '.join(METHODS)}")
    return METHODS[name]


def _only(paths: Any) -> Path:
    """The one path. Raises InputError where there are more."""
    if len(paths) != 1:
        raise InputError(f"{paths[1]}: one argument too many: methods of images take one folder or file")
    return paths[0]


def _read_reference(path: Path | None) -> Any:
    """The 3D of a file, or None without a path. Raises InputError where the file holds none."""
    if path is None:
        return None
    from jnrsfm import io

    reference = io.read_reference(path)
    if reference is None:
        raise InputError(f"{path}: holds no 3D to compare with (key 'points3d'): name a file that does")
    return reference


def _gives_depth(run: Path) -> bool:
    """Whether the run is of a method that learns depth from pairs of frames."""
    from jnrsfm import runs
    from jnrsfm.depth_maps import FramePairs
    from jnrsfm.methods import METHODS

    try:
        name = runs.read_record(run)["method"]
    except InputError:  # what is wrong with it is said where it is loaded
        return False
    return name in METHODS and METHODS[name].takes is FramePairs


def _refuse_images(paths: tuple[Path, ...], method: str) -> None:
    """A folder of photographs needs a method that takes them: none is chosen for it."""
    from jnrsfm import io
    from jnrsfm.methods import METHODS
    from jnrsfm.types import LabelledImages

    if len(paths) == 1 and paths[0].is_dir() and io.holds_images(paths[0]):
        those = ", ".join(n for n, m in METHODS.items() if getattr(m, "takes", None) is LabelledImages)
        raise InputError(f"{paths[0]}: holds images, and {method} takes landmarks: --method, one of {those}")


def _check_output(path: Path, source: Path) -> None:
    """Raise InputError where a reconstruction must not go to `path`."""
    if path.suffix != ".npz":
        raise InputError(f"{path}: a reconstruction is written as .npz: give --out FILE.npz")
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is the input itself: choose another --out")


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """Errors about "landmarks", which is all that the library can call them, name their file instead."""
    try:
        yield
    except InputError as error:
        subject, colon, rest = str(error).partition(": ")
        if subject != "landmarks" or not colon:
            raise
        raise type(error)(f"{path}: {rest}") from error
