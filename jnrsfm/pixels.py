"""Pixels: images that are decoded when they are asked for, and the one place that touches an image library.

Coordinates are those of the house: pixel centres at integers, (0, 0) the centre of the top-left pixel. Images are
`uint8 (height, width, 3)`, RGB, turned upright as their EXIF says. Reading files needs the extra `images` (Pillow).
"""

import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np

from jnrsfm.errors import InputError


@runtime_checkable
class Pixels(Protocol):
    """A set of images, decoded one at a time. `sizes (image, 2)`: width and height; `names`: one for each image."""

    @property
    def sizes(self) -> np.ndarray:
        """`(image, 2)` width and height."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """What each image is called: its file, or its number in a clip."""
        ...

    def read(self, number: int) -> np.ndarray:
        """Image `number`, uint8 `(height, width, 3)`. Raises InputError for what cannot be decoded."""
        ...


@dataclasses.dataclass(frozen=True, eq=False)
class ArrayPixels:
    """Images in memory: `images (image, height, width, 3)` uint8."""

    images: np.ndarray

    def __post_init__(self):
        """Raise InputError where this is no set of uint8 RGB images."""
        shape, kind = np.shape(self.images), np.asarray(self.images).dtype
        if len(shape) != 4 or shape[-1] != 3 or kind != np.uint8:
            raise InputError(f"images are {kind} {shape}: give uint8 (image, height, width, 3)")

    @property
    def sizes(self) -> np.ndarray:
        """`(image, 2)` width and height."""
        n, height, width, _ = self.images.shape
        return np.tile([width, height], (n, 1))

    @property
    def names(self) -> tuple[str, ...]:
        """Their numbers."""
        return tuple(f"image {i}" for i in range(len(self.images)))

    def read(self, number: int) -> np.ndarray:
        """Image `number`."""
        return self.images[number]


@dataclasses.dataclass(frozen=True, eq=False)
class FilePixels:
    """Images in files, each opened when it is read. `sizes` as their headers say, turned upright."""

    files: tuple[Path, ...]
    sizes: np.ndarray

    @classmethod
    def of(cls, files: Sequence[Path]) -> "FilePixels":
        """Of files, whose headers are read. Raises InputError, naming the first that is missing or no image."""
        return cls(tuple(files), np.array([_header(f) for f in files], int).reshape(-1, 2))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the files."""
        return tuple(f.name for f in self.files)

    def read(self, number: int) -> np.ndarray:
        """Decode image `number`."""
        return read_image(self.files[number])


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """Some images of a set, in an order of their own."""

    base: Any
    which: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """`(image, 2)` width and height."""
        return self.base.sizes[self.which]

    @property
    def names(self) -> tuple[str, ...]:
        """Their names."""
        names = self.base.names
        return tuple(names[i] for i in self.which)

    def read(self, number: int) -> np.ndarray:
        """Image `number` of the chosen."""
        return self.base.read(int(self.which[number]))


def library() -> Any:
    """Pillow, with its drawing and fonts. Raises InputError where it is not installed."""
    try:
        import PIL.Image
        import PIL.ImageDraw
        import PIL.ImageFont
        import PIL.ImageOps
    except ImportError as error:
        raise InputError("images need Pillow, which is not installed: pip install pillow") from error
    return PIL


_MODES = {"L", "P", "RGB", "RGBA", "1", "LA"}


def _opened(path: Path, source: Any = None) -> Any:
    """The opened image file, its header read; `source`, a stream, stands for the file. Raises InputError for what is
    missing, damaged or of a kind that has no plain 8-bit RGB form."""
    pil = library()
    try:
        image = pil.Image.open(path if source is None else source)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such image: check the folder and the list of files") from error
    except Exception as error:  # Pillow's decoders raise of every kind for damaged files
        raise InputError(f"{path}: cannot be read as an image: convert it to PNG or JPEG") from error
    if image.mode not in _MODES:
        image.close()
        kind = "CMYK" if image.mode == "CMYK" else f"of mode {image.mode}"
        deep = image.mode.startswith(("I", "F"))
        what = "has more than 8 bits a channel" if deep else f"is {kind}"
        raise InputError(f"{path}: {what}: convert it to 8-bit RGB or grey")
    return image


def _lies(image: Any) -> bool:
    return image.getexif().get(274, 1) in (5, 6, 7, 8)  # EXIF orientation: lies on its side


def _header(path: Path) -> tuple[int, int]:
    with _opened(path) as image:
        width, height = image.size
        return (height, width) if _lies(image) else (width, height)


def lies_on_its_side(path: Path) -> bool:
    """Whether width and height change places where the file is turned upright as its EXIF says. Raises InputError."""
    with _opened(path) as image:
        return _lies(image)


def is_image(path: Path) -> bool:
    """Whether Pillow knows the file as an image, of whatever kind."""
    try:
        with library().Image.open(path):
            return True
    except Exception:  # Pillow's openers raise of every kind for what they do not know
        return False


def read_image(path: Path, data: bytes | None = None) -> np.ndarray:
    """An image file as uint8 `(height, width, 3)`, upright; `data`, where given, is what stands in it. Raises
    InputError for what is no 8-bit image."""
    with _opened(path, None if data is None else io.BytesIO(data)) as image:
        try:
            return np.asarray(library().ImageOps.exif_transpose(image).convert("RGB"))
        except Exception as error:  # a truncated file
            raise InputError(f"{path}: breaks off or is damaged ({error}): copy it again") from error


def cut(image: np.ndarray, centre: Any, side: float, size: int, fill: int = 0) -> np.ndarray:
    """A square of an image, uint8 `(size, size, 3)`: its middle at `centre` (x, y), `side` pixels wide. What lies
    outside the image is `fill`. Area-averaged where it shrinks, so that nothing aliases.

    Pixel u of the result shows `centre + ((u + 0.5) / size - 0.5) * side`.
    """
    pil = library()
    height, width = image.shape[:2]
    left, top = (float(c) - side / 2 + 0.5 for c in centre)  # from pixel centres to edges
    step = side / size
    # the part of the result that the image covers, in whole pixels of the result
    first = [max(0, int(np.ceil(-low / step))) for low in (left, top)]
    last = [min(size, int(np.floor((extent - low) / step))) for extent, low in ((width, left), (height, top))]
    result = np.full((size, size, 3), fill, np.uint8)
    if last[0] <= first[0] or last[1] <= first[1]:
        return result
    box = (
        max(left + first[0] * step, 0.0), max(top + first[1] * step, 0.0),
        min(left + last[0] * step, float(width)), min(top + last[1] * step, float(height)),
    )  # fmt: skip
    shape = (last[0] - first[0], last[1] - first[1])
    part = pil.Image.fromarray(np.ascontiguousarray(image)).resize(shape, pil.Image.Resampling.BILINEAR, box)
    result[first[1] : last[1], first[0] : last[0]] = np.asarray(part)
    return result


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An image at another `size` (width, height), uint8: area-averaged where it shrinks, bilinear where it grows."""
    if image.shape[1::-1] == tuple(size):
        return image
    pil = library()
    return np.asarray(
        pil.Image.fromarray(np.ascontiguousarray(image)).resize(size, pil.Image.Resampling.BILINEAR)
    )


def source_file(pixels: Any, number: int) -> Path | None:
    """The file that image `number` of a set is decoded from; None where it is in memory or in a clip."""
    while isinstance(pixels, Chosen):
        pixels, number = pixels.base, int(pixels.which[number])
    return pixels.files[number] if isinstance(pixels, FilePixels) else None


def jpeg(image: np.ndarray, quality: int = 85) -> bytes:
    """An image as JPEG."""
    stream = io.BytesIO()
    library().Image.fromarray(image).save(stream, "JPEG", quality=quality)
    return stream.getvalue()
