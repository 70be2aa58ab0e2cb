"""The verbs that help to find one's way: view a run, completion for a shell, and what `jnrsfm` alone says."""

import dataclasses
import os
import sys
import webbrowser
from pathlib import Path
from typing import Annotated, Literal

from tyro.conf import Positional, arg

from jnrsfm.cli.answers import Answer
from jnrsfm.cli.reading import Verb
from jnrsfm.errors import InputError

FIRST_STEPS = """\
jnrsfm: 2D landmarks of a deforming object in, 3D shapes and cameras out, no 3D labels.

  jnrsfm demo                          fit the embedded example, minutes
  jnrsfm info FILE                     what is in the file of your pose tool, and how it is read
  jnrsfm fit FILE --method csf --out RUN   3D of it, into a run folder; in seconds
  jnrsfm view RUN                      look at it, and at whether to trust it
  jnrsfm convert RUN out.csv           hand it on: csv, nc, _3d.h5, trc, c3d, bvh, glb

jnrsfm methods lists the methods, jnrsfm --help the verbs, jnrsfm fit --help the options of one."""


@dataclasses.dataclass(frozen=True)
class View(Verb):
    """Open the page of a run in the browser; without a display, say where it is."""

    run_folder: Annotated[Positional[Path], arg(metavar="RUN")]
    """Run folder of jnrsfm fit, or a page itself."""

    def run(self) -> Answer:
        """Find the page, open it."""
        page = page_of(self.run_folder)
        opened = has_display() and webbrowser.open(page.resolve().as_uri())
        return Answer({"page": page, "opened": opened}, f"opened {page}" if opened else str(page.resolve()))


def page_of(run: Path) -> Path:
    """The page of a run folder. Raises InputError where there is none."""
    if run.is_file() and run.suffix.lower() == ".html":
        return run
    if not run.is_dir():
        raise InputError(f"{run}: no such run folder: jnrsfm fit FILE --out {run} makes one")
    page = run / "report.html"
    if not page.is_file():
        done = (run / "reconstruction.npz").is_file()
        raise InputError(
            f"{run}: has no report.html: "
            + (f"jnrsfm report {run} writes it" if done else "it is no finished run, name the --out of a fit")
        )
    return page


def has_display() -> bool:
    """Whether a browser could show a window here."""
    if sys.platform in ("win32", "darwin"):
        return "SSH_CONNECTION" not in os.environ
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or os.environ.get("BROWSER"))


@dataclasses.dataclass(frozen=True)
class Completion(Verb):
    """Print the completion of a shell: eval "$(jnrsfm completion bash)"."""

    shell: Positional[Literal["bash", "zsh"]]
    """The shell."""

    def run(self) -> Answer:
        """From the verbs and their options."""
        text = script(self.shell)
        return Answer({"shell": self.shell, "script": text}, text)


def script(shell: str) -> str:
    """Completion of verbs, of the options of each, of files, and of the names of methods after --method."""
    from jnrsfm.cli.complaints import option_names
    from jnrsfm.cli.verbs import VERBS
    from jnrsfm.methods import METHODS

    cases = "\n".join(
        f"    {verb}) words='{' '.join([*option_names(cls), '--help'])}' ;;" for verb, cls in VERBS.items()
    )
    body = f"""\
_jnrsfm() {{
  local words here=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD-1]}}
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W '{" ".join([*VERBS, "--help", "--version"])}' -- "$here")); return
  fi
  if [ "$before" = --method ]; then
    COMPREPLY=($(compgen -W '{" ".join(METHODS)}' -- "$here")); return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}
    *) words= ;;
  esac
  case $here in
    -*) COMPREPLY=($(compgen -W "$words" -- "$here")) ;;
    *) local IFS=$'\\n'; COMPREPLY=($(compgen -f -- "$here")) ;;
  esac
}}
complete -o filenames -F _jnrsfm jnrsfm"""
    lead = "autoload -U +X compinit && compinit -u\nautoload -U +X bashcompinit && bashcompinit\n"
    return (lead if shell == "zsh" else "") + body
