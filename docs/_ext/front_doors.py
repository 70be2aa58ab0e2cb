"""The API reference: a page for each room, of what its front door exports."""

import ast
import importlib
from pathlib import Path

DOCS = Path(__file__).resolve().parent.parent
ROOMS = {
    "jnrsfm": "The library in a few calls",
    "jnrsfm.methods": "Methods and their settings",
    "jnrsfm.io": "Files in and out",
    "jnrsfm.datasets": "Generated sets with exact truth",
    "jnrsfm.metrics": "Protocols and the quality report",
    "jnrsfm.report": "The page and the still picture",
    "jnrsfm.geometry": "Rotations, cameras, pose, alignment, depth reflection",
    "jnrsfm.linalg": "Small kernels and proximal maps",
    "jnrsfm.shape_prior": "The Procrustean normal distribution",
    "jnrsfm.factorization": "What solvers share",
    "jnrsfm.inputs": "Between a record and a batch",
    "jnrsfm.losses": "Losses",
    "jnrsfm.models": "Networks",
    "jnrsfm.training": "The engine",
}


def exported(room: str) -> dict[str, object]:
    """What the front door of a room exports or defines, by name; modules aside."""
    module = importlib.import_module(room)
    names = set()
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("jnrsfm"):
            names |= {alias.asname for alias in node.names if alias.asname}
        elif isinstance(node, ast.FunctionDef):
            names.add(node.name)
    found = {
        name: getattr(module, name) for name in sorted(names) if name[0] != "_" and hasattr(module, name)
    }
    return {name: value for name, value in found.items() if not isinstance(value, type(ast))}


def page(room: str, title: str) -> str:
    """The page of one room, as reStructuredText."""
    head = room
    lines = [head, "=" * len(head), "", f"{title}.", "", f".. automodule:: {room}", "   :no-members:", ""]
    plain = []
    for name, value in sorted(
        exported(room).items(), key=lambda item: (not isinstance(item[1], type), item[0])
    ):
        if isinstance(value, type):
            kind = "autoexception" if issubclass(value, Exception) else "autoclass"
            lines += [f".. {kind}:: {room}.{name}", *(["   :members:"] if kind == "autoclass" else []), ""]
        elif callable(value):
            lines += [f".. autofunction:: {room}.{name}", ""]
        else:
            plain.append(name)
    if plain:
        lines += ["Constants: " + ", ".join(f"``{name}``" for name in plain) + ".", ""]
    return "\n".join(lines)


def write(folder: Path) -> None:
    """Write the pages and their index; files that would not change are left alone."""
    folder.mkdir(exist_ok=True)
    names = [room.removeprefix("jnrsfm.") for room in ROOMS]
    rows = [f"* :doc:`{name}`: {title}" for name, title in zip(names, ROOMS.values(), strict=True)]
    head = [
        "API reference", "=============", "",
        "From the docstrings. Primitives take leading batch axes and work under ``jit``, ``vmap`` and ``grad``.", "",
    ]  # fmt: skip
    toc = ["", ".. toctree::", "   :hidden:", "", *(f"   {name}" for name in names), ""]
    texts = {"index": "\n".join([*head, *rows, *toc])}
    texts |= {name: page(room, title) for name, (room, title) in zip(names, ROOMS.items(), strict=True)}
    for name, text in texts.items():
        path = folder / f"{name}.rst"
        if not path.is_file() or path.read_text() != text:
            path.write_text(text)


def setup(app):
    """Write the pages before Sphinx looks for them."""
    app.connect("builder-inited", lambda app: write(DOCS / "api"))
    return {"parallel_read_safe": True}
