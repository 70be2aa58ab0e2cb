"""Sets with free terms that can be downloaded: address, SHA-256, licence and reader of each.

`DOWNLOADS` is empty in this version: an entry goes in only after its bytes have been fetched from the
address and hashed, and its terms read. To use one of your own, pass a `Download` to `fetch` or `load`.
Importing this module touches neither network nor disk.
"""

import dataclasses
import hashlib
import http.client
import os
import re
import tempfile
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path

from jnrsfm.errors import InputError
from jnrsfm.types import Landmarks

TIMEOUT = 30.0  # seconds without an answer


@dataclasses.dataclass(frozen=True)
class Download:
    """One file: `address` (https or file), `sha256` in hex, its `licence` (an SPDX name or a sentence),
    who to cite, and the `reader` that turns the file into landmarks."""

    name: str
    address: str
    sha256: str
    licence: str
    citation: str
    reader: Callable[[Path], Landmarks]

    def __post_init__(self):
        """Check what a typing mistake would spoil."""
        if not re.fullmatch(r"[0-9a-f]{64}", self.sha256):
            raise InputError(f"{self.name}: sha256 must be 64 lower-case hexadecimal digits")
        if urllib.parse.urlparse(self.address).scheme not in ("https", "file"):
            raise InputError(f"{self.name}: address {self.address!r} must start with https:// or file://")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise InputError(f"{self.name!r}: use letters, digits, dots, dashes and underscores in the name")


DOWNLOADS: Mapping[str, Download] = {}


def cache_dir() -> Path:
    """Where downloads are kept: `JNRSFM_CACHE`, or `jnrsfm` in the user's cache folder (`XDG_CACHE_HOME`)."""
    if own := os.environ.get("JNRSFM_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "jnrsfm"


def _find(what: str | Download) -> Download:
    if isinstance(what, Download):
        return what
    if what not in DOWNLOADS:
        known = ", ".join(DOWNLOADS) or "none are registered in this version"
        raise InputError(f"no downloadable set {what!r}: {known}")
    return DOWNLOADS[what]


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(what: str | Download) -> Path:
    """The file of a set, by name or record, downloaded to the cache unless it is there already.

    A file in the cache is hashed again, and fetched anew if it has changed. The download goes to a temporary
    name beside it and is renamed when its SHA-256 is right, so that neither half
    a file nor a wrong one is ever found there.

    Raises `InputError` where the name is unknown, the address cannot be read, the cache cannot be written, or
    the hash differs.
    """
    item = _find(what)
    suffix = Path(urllib.parse.urlparse(item.address).path).suffix
    target = cache_dir() / f"{item.name}-{item.sha256[:12]}{suffix}"
    try:
        if target.is_file() and _sha256(target) == item.sha256:
            return target
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, beside = tempfile.mkstemp(dir=target.parent, prefix=f".{item.name}-", suffix=".part")
    except OSError as error:
        raise InputError(
            f"{target}: the cache cannot be used ({error.strerror}); set JNRSFM_CACHE"
        ) from error
    try:
        digest = hashlib.sha256()
        with os.fdopen(handle, "wb") as file:
            try:
                with urllib.request.urlopen(item.address, timeout=TIMEOUT) as source:
                    while block := source.read(1 << 20):
                        digest.update(block)
                        file.write(block)
            except (OSError, http.client.HTTPException) as error:
                cause = getattr(error, "reason", None) or error
                raise InputError(f"{item.name}: {item.address} could not be downloaded ({cause})") from error
        if digest.hexdigest() != item.sha256:
            raise InputError(
                f"{item.name}: {item.address} has SHA-256 {digest.hexdigest()}, not {item.sha256}; "
                "the file there has changed or was damaged on the way, and is not used"
            )
        os.replace(beside, target)
    finally:
        Path(beside).unlink(missing_ok=True)
    return target


def load(what: str | Download) -> Landmarks:
    """The landmarks of a downloadable set: `fetch`, then its reader."""
    item = _find(what)
    return item.reader(fetch(item))
