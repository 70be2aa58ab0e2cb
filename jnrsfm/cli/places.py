"""Where results may go: refused before any work is done, not after hours of it."""

import os
from pathlib import Path

from jnrsfm.errors import InputError


def check_run_folder(folder: Path, resume: bool) -> None:
    """Raise InputError where a run cannot be written into `folder`, before any work is done.

    It must be absent, empty, or, with `resume`, hold a run; and a file must be writable in it, or in the
    nearest folder above it that exists.
    """
    folder = folder.expanduser()
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder}: is a file, and a run needs a folder: choose another --out")
    holds = folder.is_dir() and any(folder.iterdir())
    if resume and not (folder / "config.yaml").is_file():
        raise InputError(f"{folder}: holds no run to resume (no config.yaml): leave out --resume")
    if holds and not resume:
        what = "holds another run" if (folder / "config.yaml").is_file() else "is not empty"
        raise InputError(f"{folder}: {what}: choose another --out, or empty the folder, or say --resume")
    existing = next(p for p in (folder, *folder.absolute().parents) if p.is_dir())
    if not os.access(existing, os.W_OK | os.X_OK):
        raise InputError(f"{folder}: no permission to write in {existing}: choose another --out")


def check_output_file(path: Path, source: Path) -> None:
    """Raise InputError where a reconstruction cannot be written to `path`, before any work is done."""
    path = path.expanduser()
    if path.suffix != ".npz":
        raise InputError(f"{path}: a reconstruction is written as .npz: give --out FILE.npz")
    if path.is_dir():
        raise InputError(f"{path}: is a folder: give --out FILE.npz")
    if path.exists() and source.exists() and path.samefile(source):
        raise InputError(f"{path}: is the input itself: choose another --out")
    if not path.parent.is_dir():
        raise InputError(f"{path}: the folder {path.parent} does not exist: create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: no permission to write in {path.parent}: choose another --out")
