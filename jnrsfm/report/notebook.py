"""What a notebook shows of a result: a sentence, the verdict, the checks."""

from html import escape

from jnrsfm.report.contents import Contents
from jnrsfm.report.scene import Scene
from jnrsfm.report.summary import checks, what_was_done
from jnrsfm.types import Result


def notebook_html(shown: Result | Contents) -> str:
    """HTML without script or style sheet, for `_repr_html_`. The quality report is there where `shown` brings one.
    Raises InputError where the type of result has no panels."""
    contents = shown if isinstance(shown, Contents) else Contents(shown)
    scene = contents.scene
    said = (
        what_was_done(scene, contents.history, contents.settings)
        if isinstance(scene, Scene)
        else getattr(scene, "said", "")
    )
    parts = [f"<p><b>{escape(contents.title)}.</b> {escape(said)}</p>"]
    if contents.quality:
        word = contents.quality.get("verdict", {}).get("text", "")
        parts.append(f"<p>Verdict: <b>{escape(word)}</b></p>" if word else "")
        rows = "".join(
            f"<tr><td>{escape(c.name)}</td><td>{escape(c.value)}</td><td>{escape(c.verdict)}</td></tr>"
            for c in checks(contents.quality)
        )
        parts.append(f"<table><tr><th>check</th><th>value</th><th></th></tr>{rows}</table>")
        parts += [f"<p>! {escape(line)}</p>" for line in contents.quality.get("warnings", ())]
    parts.append("<p><code>.fig</code> draws it, <code>.save(path)</code> writes it.</p>")
    return "".join(parts)
