r"""Docstrings of the package are Markdown of a small kind: `code`, $math$, $$math$$, lists, indented code, doctests.

Sphinx reads reStructuredText, so each is translated before it is read.
"""

import re

# What is not prose: display mathematics, code, mathematics.
_SPAN = re.compile(r"\$\$(.+?)\$\$|`([^`]+)`|\$([^$]+)\$", re.S)


def prose(text: str) -> str:
    r"""One paragraph. Nothing in it means anything to reStructuredText but code and mathematics."""
    parts, end = [], 0
    for found in _SPAN.finditer(text):
        parts.append(_escaped(text[end : found.start()]))
        code, math = found.group(2), found.group(3) or found.group(1)
        if code is not None:
            parts.append(f"\\ ``{' '.join(code.split())}``\\ ")
        else:
            parts.append(f"\\ :math:`{' '.join(math.split())}`\\ ")
        end = found.end()
    return "".join([*parts, _escaped(text[end:])]).strip()


def _escaped(text: str) -> str:
    return re.sub(r"([\\*|_`<>])", r"\\\1", text)


def blocks(lines: list[str]) -> list[list[str]]:
    """Groups of lines between blank ones."""
    found: list[list[str]] = [[]]
    for line in lines:
        if line.strip():
            found[-1].append(line.rstrip())
        elif found[-1]:
            found.append([])
    return [b for b in found if b]


def translated(lines: list[str]) -> list[str]:
    """The lines of a docstring as reStructuredText."""
    out: list[str] = []
    code = False  # the block before was an indented one
    for block in blocks(lines):
        text = "\n".join(block)
        if text.lstrip().startswith(">>>"):
            out += [*block, ""]
            continue
        display = re.fullmatch(r"\s*\$\$(.+?)\$\$\s*", text, re.S)
        if display:
            out += [
                "",
                ".. math::",
                "",
                *(f"   {line.strip()}" for line in display.group(1).splitlines()),
                "",
            ]
            continue
        if all(line.startswith("    ") for line in block):
            out += [*([] if code else ["::", ""]), *(f"  {line}" for line in block), ""]
            code = True
            continue
        code = False
        for item in _items(block):
            out += [item, ""]
    return out


def _items(block: list[str]) -> list[str]:
    """A block as paragraphs and list items, each on one line."""
    items: list[list[str]] = []
    for line in block:
        if not items or re.match(r"\s*(\* |- |\d+\. )", line):
            items.append([])
        items[-1].append(line.strip())
    done = []
    for item in items:
        mark = re.match(r"(\* |- |\d+\. )", item[0])
        text = re.sub(
            r"(?<=[a-z])- (?!and |or )(?=[a-z])", "-", " ".join(item)
        )  # words broken at their hyphen
        done.append(f"{mark[0]}{prose(text[len(mark[0]) :])}" if mark else prose(text))
    return done


def setup(app):
    """Translate every docstring that autodoc reads."""
    app.connect("autodoc-process-docstring", lambda app, kind, name, obj, options, lines: _replace(lines))
    app.connect("autodoc-process-signature", _shortened)
    return {"parallel_read_safe": True}


def _shortened(app, kind, name, obj, options, signature, returned):
    """Signatures say Array, not where jaxlib keeps it."""
    short = lambda text: text.replace("jaxlib._jax.Array", "Array") if text else text
    return short(signature), short(returned)


def _replace(lines: list[str]) -> None:
    if lines[:1] and lines[0].startswith(
        "Alias for field number"
    ):  # what Python says of an undescribed field
        lines[:] = []
    lines[:] = translated(lines)
