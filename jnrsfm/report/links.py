"""What can be told of a skeleton by the names of its points: left-right pairs."""

import re

import numpy as np
from jaxtyping import Int


def pairs_from_names(names: tuple[str, ...] | None) -> Int[np.ndarray, "pair 2"]:
    """(left, right) pairs told by names: `left_hip`, `right_hip`; `lfoot`, `rfoot`; `hip_L`, `hip_R`.

    A bare first or last letter counts only where every `l` so found has its `r` and there are at least
    two pairs, for words such as "lip" begin with l as well.
    """
    if not names:
        return np.zeros((0, 2), np.int32)
    lower = [n.lower() for n in names]
    index = {n: i for i, n in enumerate(lower)}
    for whole_words in (True, False):
        pairs = []
        for i, name in enumerate(lower):
            if whole_words:
                other = name.replace("left", "right") if "left" in name else None
            elif name.startswith("l"):
                other = "r" + name[1:]
            elif re.search(r"[_\-. ]l$", name):
                other = name[:-1] + "r"
            else:
                other = None
            if other in index:
                pairs.append((i, index[other]))
        if len(pairs) >= (1 if whole_words else 2):
            return np.asarray(pairs, np.int32)
    return np.zeros((0, 2), np.int32)
