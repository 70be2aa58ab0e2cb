"""The cases of the Deep NRSfM++ experiments.

Every case uses the method's default configuration but for what its `overrides` say, and no run looks at 3D.
"""

from experiments.degrade import degraded, hide_limbs, hide_random, noise, perspective_views
from experiments.harness import CMU, Case, cmu, first_clips

ADAM = {"update": "adam", "learning_rate": 1e-3}  # as the paper trains
ABLATION = {**ADAM, "steps": 6_000, "restarts": 1, "prune_at": (), "final": 0.0, "mirror": "none"}
_STRONG = perspective_views(3.0)
_RIGID = {"preset": "apollo", "size": "shorter", "scale_by": "norm"}
CASES: tuple[Case, ...] = (
    *(Case(f"cmu_{n}", f"CMU {n}", "all points", cmu(n), "orthographic", headline=True) for n in CMU),
    *(
        Case(f"ablation_{kind}_{n}", f"CMU {n}", f"ablation: {kind}", cmu(n), "orthographic",
             overrides={**ABLATION, "activation": kind})
        for n in CMU for kind in ("bst", "relu")
    ),
    *(Case(f"grid_missing_{m}_noise_{n}", "CMU walking", f"{m} % missing, noise {n} %", cmu("walking"),
           "orthographic", degraded(hide_random(m / 100), noise(n / 100)), headline=n == 0)
      for m in (0, 30, 60) for n in (0, 5)),
    Case("limbs", "CMU walking", "a limb hidden for 40 of 80 frames", cmu("walking"), "orthographic",
         degraded(hide_limbs()), headline=True),
    Case("strong_perspective", "CMU walking", "distance 3 x size", cmu("walking"), "perspective",
         _STRONG, headline=True),
    Case("strong_orthographic", "CMU walking", "distance 3 x size", cmu("walking"), "orthographic",
         _STRONG, headline=True),
    Case("cars_perspective", "cars", "scale correction", "cars/apollo_pose_cars_train", "perspective",
         overrides=_RIGID, headline=True, picture=True),
    Case("cars_perspective_uncorrected", "cars", "no scale correction", "cars/apollo_pose_cars_train",
         "perspective", overrides={**_RIGID, "scale_correction": 0}),
    Case("cars_orthographic", "cars", "", "cars/apollo_pose_cars_train", "orthographic", overrides=_RIGID,
         headline=True),
    Case("chairs", "chairs", "43 % missing, no order", "category_shapes/keypointnet_chair_train", "orthographic",
         headline=True),
    Case("unseen", "CMU walking", "trained on the first five of six clips", cmu("walking"), "orthographic",
         split=first_clips(0.8)),
    Case("cheetah", "cheetah", "all points, fisheye camera", "animals/cheetah_cam1", "weak-perspective",
         headline=True, picture=True),
)  # fmt: skip
