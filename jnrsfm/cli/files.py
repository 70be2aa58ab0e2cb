"""The verbs about files: convert, clean, info."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from tyro.conf import Positional, arg

from jnrsfm.cli.answers import Answer
from jnrsfm.cli.reading import Reader, read_said
from jnrsfm.errors import InputError


@dataclasses.dataclass(frozen=True)
class Convert(Reader):
    """Write a run, a reconstruction or landmarks, with 3D where there is any, in the format of another tool; or make
    pairs of frames with disparity and flow of a stereo video (--stereo)."""

    src: Annotated[Positional[Path], arg(metavar="SRC")]
    """Run folder, reconstruction, or landmarks of any tool."""
    dst: Annotated[Positional[Path], arg(metavar="DST")]
    """File to write; its end names the format: .npz .mat .json .nc .csv .long.csv DLC.csv .anipose.csv .h5 .kpms.h5
    .trc .c3d .bvh .glb."""
    to: Annotated[str | None, arg(metavar="NAME")] = None
    """Format to write, where the end of DST does not say."""
    scale_by: Annotated[str | None, arg(metavar="A-B=LENGTH")] = None
    """Give a result units by the length of one edge, such as hip-knee=0.45 (metres)."""
    drop_empty: bool = False
    """Leave out the frames that show too few points for a fit."""
    stereo: Literal["side-by-side", "half", "full", "files"] | None = None
    """SRC is a stereo video: make DST a folder of frame pairs with disparity and flow. Both eyes side by side in one
    picture, squeezed (half) or not (full), or in two files."""
    second: Annotated[Path | None, arg(metavar="VIDEO")] = None
    """The other eye's video (--stereo files)."""
    eyes: Literal["auto", "left-right", "right-left"] = "auto"
    """Which eye comes first; auto: what is lower in the picture is nearer."""
    width: int = 640
    """Width of an eye's stored picture at most, in pixels."""
    flow: float = 8.0
    """Frames in which nothing moves by so many pixels are left out."""

    def run(self) -> Answer:
        """Read and write."""
        if self.stereo is not None:
            from jnrsfm.cli import stereo

            settings = {"layout": self.stereo, "eyes": self.eyes, "width": self.width, "flow": self.flow}
            return stereo.convert(self.src, self.second, self.dst, **settings)
        from jnrsfm import io

        files = io.convert(
            self.src, self.dst, to=self.to, scale_by=self.scale_by, drop_empty=self.drop_empty, **self.reading
        )
        return Answer(
            {"src": self.src, "dst": self.dst, "files": files}, f"wrote {', '.join(map(str, files))}"
        )


@dataclasses.dataclass(frozen=True)
class Clean(Reader):
    """Clean landmarks along time: swapped sides back, points that jump or stand still hidden, short gaps bridged."""

    src: Annotated[Positional[Path], arg(metavar="IN")]
    """Landmarks of any tool."""
    dst: Annotated[Positional[Path], arg(metavar="OUT.npz")]
    """Landmarks to write."""
    gap: Annotated[int, arg(metavar="FRAMES")] = 5
    """Longest gap to bridge; 0 bridges none."""
    no_outliers: bool = False
    """Leave points that jump."""
    no_swaps: bool = False
    """Leave left and right as they are."""
    no_static: bool = False
    """Leave points that stand still."""
    report: Annotated[Path | None, arg(metavar="FILE.json")] = None
    """Write what was changed, frame by frame."""

    def run(self) -> Answer:
        """Read, clean, write."""
        from jnrsfm import inputs, io, runs

        if self.gap < 0:
            raise InputError(f"--gap is {self.gap}: it must be 0 or more frames")
        if self.dst.exists() and self.src.exists() and self.dst.samefile(self.src):
            raise InputError(f"{self.dst}: is the input itself: choose another OUT")
        landmarks = read_said([self.src], self.reading)
        cleaned, found = inputs.clean(
            landmarks,
            outliers=not self.no_outliers,
            swaps=not self.no_swaps,
            static=not self.no_static,
            gap=self.gap,
        )
        io.write_landmarks(self.dst, cleaned)
        if self.report is not None:
            runs.write_json(self.report, found)
        swapped = sum(s["last"] - s["first"] + 1 for s in found["swaps"])
        lines = [
            f"{len(found['outliers'])} points that jump hidden",
            f"{swapped} frames with left and right exchanged put right, in {len(found['swaps'])} runs"
            if landmarks.symmetric is not None
            else "left and right not looked at: the file has no left-right pairs (names, --rename or --skeleton)",
            f"{len(found['static'])} tracks that stand still hidden",
            f"{len(found['filled'])} points in short gaps bridged, at half the confidence",
            f"wrote {self.dst}",
        ]
        return Answer({"dst": self.dst, **found}, "\n".join(lines))


@dataclasses.dataclass(frozen=True)
class Info(Reader):
    """Say what a file or a folder of images holds and how it was read: frames, points, gaps, clips, camera, 3D."""

    file: Annotated[Positional[tuple[Path, ...]], arg(metavar="FILE ...")]
    """Landmarks of any pose tool, a reconstruction, or labelled images (a folder, COCO annotations, a video); several
    files of landmarks, or a pattern, make a clip each."""
    png: Annotated[Path | None, arg(metavar="OUT.PNG")] = None
    """Draw a contact sheet: some frames with their points, names and skeleton; of images with the images."""

    def run(self) -> Answer:
        """Read and describe."""
        from jnrsfm import io

        if len(self.file) == 1 and io.holds_images(self.file[0], self.format):
            return image_answer(self.file[0], self.reading, self.png)
        found = io.info(self.file[0] if len(self.file) == 1 else list(self.file), **self.reading)
        if self.png is None:
            return Answer(found, io.format_info(found))
        from jnrsfm import report

        landmarks = io.read_landmarks(list(self.file), **self.reading)
        sheet = report.write_landmark_sheet(self.png, landmarks)
        return Answer({**found, "png": sheet}, f"{io.format_info(found)}\nwrote {sheet}")


def image_answer(path: Path, reading: dict[str, Any], png: Path | None) -> Answer:
    """What `info` says of a set of images; its contact sheet written where wished."""
    from jnrsfm import io, report

    found, images = io.image_info(path, **reading)
    text = io.format_images(found)
    if png is not None:
        found["png"] = str(report.write_contact_sheet(png, images))
        text += f"\nwrote {png}"
    return Answer(found, text)
