"""What a fit stands on, as BibTeX: the method's paper, its start or prior, its depth reflection, the protocols."""

import functools
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

from jnrsfm.errors import InputError
from jnrsfm.methods import METHODS, MethodInfo

_PRIOR = "lee2013pnd"
_WHY = {
    _PRIOR: "its start, or its distribution over shapes, is the Procrustean normal distribution of this paper",
    "novotny2019c3dpo": "the network and the canonicalisation that it builds on",
    "singer2011synchronization": "the depth reflections of the frames were made to agree over the set by "
    "synchronisation of signs, as here of angles",
    "jnrsfm": "this software; the depth reflection along clips, the quality report and the search are its own",
}
_PROTOCOLS = {
    "kong": "kong2019deepnrsfm",
    "akhter": "akhter2008trajectory",
    "c3dpo": "novotny2019c3dpo",
    "deep-nrsfm++": "wang2020deepnrsfmpp",
}


@functools.cache
def references() -> Mapping[str, str]:
    """The entries of `references.bib` by key."""
    text = resources.files("jnrsfm").joinpath("references.bib").read_text("utf-8")
    entries = re.split(r"^(?=@)", text, flags=re.M)[1:]
    return {re.split(r"[{,]", entry, maxsplit=2)[1]: entry.strip() for entry in entries}


def cite(what: Any, protocols: Iterable[str] = ()) -> str:
    """BibTeX of what a fit used, each entry led by a comment with the reason in one sentence.

    `what` is the `FitResult` of `fit`, a method's name, or the settings of a method. A result names its own protocols
    where it was scored, and leaves out what its settings did not use; a name gives all that the method may use.
    `protocols` adds those that you report. Raises InputError for an unknown method or protocol.

    >>> print(cite("rigid").splitlines()[0])
    % The method, rigid.
    """
    info, config, reflection = _asked(what)
    used = {info.cites[0]: f"the method, {info.name}"} if info.cites else {}
    for key in info.cites[1:]:
        if not (key == _PRIOR and _another_start(config)):
            used.setdefault(key, _WHY.get(key, f"a part of the method {info.name}"))
    if reflection == "set":
        used["singer2011synchronization"] = _WHY["singer2011synchronization"]
    for name in (*protocols, *(getattr(what, "scores", None) or ())):
        if name in _PROTOCOLS:
            used.setdefault(_PROTOCOLS[name], f"the protocol `{name}`, by which the errors are measured")
        elif name not in ("frame-mirror", "one-mirror", "one-mirror-scaled"):
            raise InputError(f"unknown protocol {name!r}: choose from {', '.join(_PROTOCOLS)}")
    used["jnrsfm"] = _WHY["jnrsfm"]
    return (
        "\n\n".join(f"% {why[0].upper()}{why[1:]}.\n{references()[key]}" for key, why in used.items()) + "\n"
    )


def _asked(what: Any) -> tuple[MethodInfo, Any, str | None]:
    """Method, settings and depth reflection of what is asked for."""
    if isinstance(what, str):
        if what not in METHODS:
            raise InputError(f"unknown method {what!r}: choose from {', '.join(METHODS)}")
        return METHODS[what], None, None
    config = getattr(what, "config", what)
    info = next((m for m in METHODS.values() if type(config) is m.config), None)
    if info is None:
        raise InputError(
            f"nothing to cite of a {type(what).__name__}: give the result of jnrsfm.fit, or a method's name"
        )
    return info, config, getattr(getattr(what, "result", None), "mirror", None)


def _another_start(config: Any) -> bool:
    """Whether the settings name a start, or a variant, that is not the Procrustean normal distribution."""
    named = (getattr(config, name, None) for name in ("starts", "start", "variant"))
    chosen: Any = next(filter(None, named), ())
    return bool(chosen) and "pnd" not in chosen and "procrustean" not in chosen
