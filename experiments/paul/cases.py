"""The cases of the PAUL experiments.

Every case uses the method's default configuration but for what its `overrides` say, and no run looks at 3D.
"""

from typing import Any

from experiments.degrade import degraded, hide_random, noise, one_clip, perspective_views, unchanged
from experiments.harness import CMU, Case, cmu, first_clips, scored_and_lifted, short

SHORT = ("drink", "pickup", "yoga", "shark", "walking", "face1")
ABLATED = SHORT[1:]  # drink, of four times the frames, would take as long as the others together
ENCODERS = ("residual", "block-sparse")
# One search, nothing held out and nothing chosen: for comparisons at equal compute.
_ALONE = {
    "steps": 2000,
    "final": 0.0,
    "starts": ("pnd",),
    "anchor_floor": 0.0,
    "holdout": 0.0,
    "select": "objective",
}


def case(name: str, set_: str, setting: str, file: str, camera: str = "orthographic", **more: Any) -> Case:
    """A case of PAUL."""
    return Case(name, set_, setting, file, camera, method="paul", score=scored_and_lifted, **more)


def _set(name: str) -> str:
    return f"{name} (short)" if name == "walking" else name


VARIANTS: dict[str, dict[str, Any]] = {
    "paul": {},
    "linear": {"solver": "linear"},
    "adl": {"prior": "adl"},
    "adl-nuclear": {"prior": "adl-nuclear"},
    "held": {"anchor_floor": 0.03},
    "smooth": {"smooth": 1.0},
}
EVERYWHERE = ("paul", "held", "adl", "adl-nuclear")  # the rest on fewer sequences
GRID, NOISES, BOTTLENECKS = "yoga", (0, 2, 5), (2, 4, 8, 12)
STARTS = ("pnd", "rigid", "random")
SEEDS, MANY = 2, 10
CASES: tuple[Case, ...] = (
    *(case(f"short_{n}", _set(n), "short sequence", short(n), headline=True) for n in SHORT),
    *(case(f"cmu_{n}", f"CMU {n}", "all points", cmu(n), headline=True) for n in CMU),
    *(
        case(f"ablation_{variant}_{n}", _set(n), f"ablation: {variant}", short(n),
             overrides={**_ALONE, **change},
             change=one_clip if variant == "smooth" else unchanged)
        for variant, change in VARIANTS.items() for n in (ABLATED if variant in EVERYWHERE else ABLATED[:3])
    ),
    *(
        case(f"grid_{level}_{width}_{GRID}", GRID, f"noise {level} %, bottleneck {width}", short(GRID),
             overrides={**_ALONE, "bottleneck": width}, change=degraded(hide_random(0), noise(level / 100)))
        for level in NOISES for width in BOTTLENECKS
    ),
    *(
        case(f"start_{start}_{seed}_{n}", _set(n), f"start: {start}, seed {seed}", short(n),
             overrides={"steps": 2000, "final": 0.0, "starts": (start,), "anchor_floor": 0.0}, seed=seed)
        for start in STARTS for n in ABLATED for seed in range(SEEDS)
    ),
    *(
        case(f"missing_{m}_{n}", _set(n), f"{m} % missing", short(n), change=degraded(hide_random(m / 100)),
             headline=m == 30)
        for n in ("drink", "walking") for m in (30, 60)
    ),
    case("strong_perspective", "CMU walking", "distance 3 x size", cmu("walking"), "perspective",
         change=perspective_views(3.0), headline=True),
    case("strong_orthographic", "CMU walking", "distance 3 x size", cmu("walking"),
         change=perspective_views(3.0)),
    case("unseen", "CMU walking", "trained on the first five of six clips", cmu("walking"), split=first_clips(0.8)),
    case("dense_back_sparse", "back_sparse", "152 frames, 126 points", "dense_like/back_sparse"),
    case("dense_iso_plane1", "iso_plane1", "21 frames, 400 points", "surfaces/iso_plane1", "perspective"),
    *(
        case(f"encoder_{kind}_{n}", f"CMU {n}", f"{kind} encoder", cmu(n), overrides={"codes": kind})
        for n in CMU for kind in ENCODERS
    ),
    *(
        case(f"unseen_{kind}", "CMU walking", f"{kind} encoder, trained on the first five of six clips",
             cmu("walking"), overrides={"codes": kind}, split=first_clips(0.8))
        for kind in ENCODERS
    ),
    *(
        case(f"seeds_{n}", _set(n), f"{MANY} seeds of random codes, side by side", short(n),
             overrides={**_ALONE, "starts": ("random",), "restarts": MANY, "layout": "vmap", "holdout": 0.1,
                        "select": "heldout"})
        for n in ("pickup", "face1")
    ),
)  # fmt: skip
