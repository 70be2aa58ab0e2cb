"""The methods, found by name. A new one is one file, its test, its experiment, and one line here."""

from jnrsfm.methods import (
    bmm,
    consensus,
    csf,
    deep_nrsfm_pp,
    multicategory,
    paul,
    pnd,
    prn,
    rigid,
    trajectory,
)
from jnrsfm.methods.base import Fitted as Fitted
from jnrsfm.methods.base import MethodInfo as MethodInfo
from jnrsfm.methods.base import Model as Model

METHODS: dict[str, MethodInfo] = {
    m.name: m
    for m in (
        deep_nrsfm_pp.INFO,
        paul.INFO,
        prn.INFO,
        multicategory.INFO,
        rigid.INFO,
        trajectory.INFO,
        csf.INFO,
        bmm.INFO,
        consensus.INFO,
        pnd.INFO,
    )
}
