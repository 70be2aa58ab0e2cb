"""Links that hold in the repository hold on the site: to examples, to pages beside docs/, to sources.

A page says `[walking](examples/walking.py)`, as a reader of the repository wants it; on the site this leads to the page
that the example makes. Files that the site has no page for are named, without a link.
"""

import os
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
ROOT = DOCS.parent
# Pages outside docs/, and where the site shows them.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(?<!!)\[([^\]]+)\]\(([^)#:]+)(#[^)]*)?\)")
_INCLUDE = re.compile(r"^```\{include\} (\S+)\n```$", re.M)


def on_the_site(target: Path) -> Path | None:
    """The page of the site that shows a file of the repository; None where there is none."""
    name = target.relative_to(ROOT).as_posix()
    if name in PAGES:
        return DOCS / PAGES[name]
    example = re.fullmatch(r"docs/examples/(\w+)\.py", name)
    if example:
        return DOCS / "gallery" / f"{example[1]}.rst"
    experiment = re.fullmatch(r"experiments/(\w+)(/README\.md)?", name)
    if experiment:
        return DOCS / "experiments" / f"{experiment[1]}.md"
    if name == "docs/examples/README.txt":
        return DOCS / "gallery" / "index.rst"
    if name == "experiments":
        return DOCS / "experiments" / "index.md"
    return target if target.is_relative_to(DOCS) else None


def mended(text: str, home: Path, page: Path) -> str:
    """`text` that stands in the file `home` of the repository, as the page `page` of the site shows it."""

    def replace(found: re.Match) -> str:
        target = (home.parent / found[2]).resolve()
        if not target.exists():
            return found[0]
        shown = on_the_site(target)
        if shown is None:
            return found[1] if found[1].startswith("`") else f"{found[1]} (`{target.relative_to(ROOT)}`)"
        path = Path(os.path.relpath(shown, page.parent)).as_posix()
        return f"[{found[1]}]({path}{found[3] or ''})"

    return _LINK.sub(replace, text)


def whole(text: str, page: Path) -> str:
    """The text of a page with what it includes, links mended.

    ` ```{include} ../README.md#methods ` takes what stands between the markers `methods:begin` and `methods:end`.
    """

    def included(found: re.Match) -> str:
        name, _, part = found[1].partition("#")
        home = (page.parent / name).resolve()
        content = home.read_text()
        if part:
            start = content.index("-->", content.index(f"<!-- {part}:begin")) + 3
            content = content[start : content.index(f"<!-- {part}:end")]
        return mended(content, home, page)

    pieces = _INCLUDE.split(text)  # text, path, text, path, ..., text
    out = [mended(pieces[0], page, page)]
    for found, rest in zip(_INCLUDE.finditer(text), pieces[2::2], strict=True):
        out += [included(found), mended(rest, page, page)]
    return "".join(out)


def _source_read(app, name, source):
    page = DOCS / f"{name}.md"
    if page.is_file():
        for found in _INCLUDE.finditer(source[0]):  # a page is built anew where what it includes has changed
            app.env.note_dependency(str((page.parent / found[1].partition("#")[0]).resolve()))
        source[0] = whole(source[0], page)


def setup(app):
    """Mend pages as they are read."""
    app.connect("source-read", _source_read)
    return {"parallel_read_safe": True}
