"""Mathematics as MathML, which browsers draw by themselves: pages need no network and no script."""

import re

from docutils.utils.math import latex2mathml

# An accented letter takes its index beside it, where docutils puts it below.
_ACCENTED = re.compile(
    r"<munderover>\s*(<mi[^>]*>[^<]*</mi>)\s*(.*?)\s*(<mo[^>]*>[ˉ¯~˜^ˆˇ]</mo>)\s*</munderover>", re.S
)


def _mathml(tex: str, as_block: bool) -> str:
    text = latex2mathml.tex2mathml(tex, as_block=as_block)
    return _ACCENTED.sub(r"<msub><mover accent='true'>\1\3</mover>\2</msub>", text)


def _inline(self, node):
    self.body.append(_mathml(node.astext(), False))
    raise _skip()


def _display(self, node):
    self.body.append(f'<div class="math">{_mathml(node.astext(), True)}</div>')
    raise _skip()


def _skip():
    from docutils import nodes

    return nodes.SkipNode()


def setup(app):
    """Register the renderer; `html_math_renderer = "mathml"` in the configuration chooses it."""
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
