"""The cases of the PAUL experiments.

Every case uses the method's default configuration but for what its `overrides` say, and no run looks at 3D.
"""

from typing import Any

from experiments.cases import CMU, Case, cmu, hide_random, perspective_views

SHORT = ("drink", "pickup", "yoga", "shark", "walking", "face1")
ABLATED = ("yoga", "shark")
ENCODER = {"codes": "block-sparse"}
_ONE = {"steps": 2000, "final": 1.0}


def case(name: str, set_: str, setting: str, file: str, camera: str = "orthographic", **more: Any) -> Case:
    """A case of PAUL."""
    return Case(name, set_, setting, file, camera, method="paul", **more)


def short(name: str) -> str:
    """File of a short sequence."""
    return f"short_sequences/{name}"


def _set(name: str) -> str:
    return f"{name} (short)" if name == "walking" else name


VARIANTS: dict[str, dict[str, Any]] = {
    "paul": {},
    "linear": {"solver": "linear"},
    "adl": {"prior": "adl"},
    "adl-nuclear": {"prior": "adl-nuclear"},
    "smooth": {"smooth": 1.0},
}
STARTS = ("pnd", "rigid", "random")
SEEDS = 3
CASES: tuple[Case, ...] = (
    *(case(f"short_{n}", _set(n), "short sequence", short(n), headline=True) for n in SHORT),
    *(case(f"cmu_{n}", f"CMU {n}", "all points", cmu(n), headline=True) for n in CMU),
    *(
        case(f"ablation_{variant}_{n}", _set(n), f"ablation: {variant}", short(n),
             overrides={**_ONE, "starts": ("pnd",), "holdout": 0.0, "select": "objective", "final": 0.0, **change})
        for variant, change in VARIANTS.items() for n in ABLATED
    ),
    *(
        case(f"start_{start}_{seed}_{n}", _set(n), f"start: {start}, seed {seed}", short(n),
             overrides={**_ONE, "starts": (start,), "final": 0.0, "mirror": "none"}, seed=seed)
        for start in STARTS for n in ABLATED for seed in range(SEEDS)
    ),
    *(
        case(f"missing_{m}_{n}", _set(n), f"{m} % missing", short(n), change=hide_random(m / 100), headline=m == 30)
        for n in ("drink", "walking") for m in (30, 60)
    ),
    case("strong_perspective", "CMU walking", "distance 3 x size", cmu("walking"), "perspective",
         change=perspective_views(3.0), headline=True),
    case("strong_orthographic", "CMU walking", "distance 3 x size", cmu("walking"),
         change=perspective_views(3.0)),
    case("unseen", "CMU walking", "trained on the first five of six clips", cmu("walking"), unseen=0.8),
    case("encoder_walking", "CMU walking", "block-sparse encoder", cmu("walking"), overrides=ENCODER),
)  # fmt: skip
