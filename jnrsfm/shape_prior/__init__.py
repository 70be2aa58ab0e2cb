"""The Procrustean normal distribution and its relatives, as distributions.

* `procrustean_normal`: the distribution: fit, log density, conditional, sample.
* `procrustean_em`: expectation maximisation for it, cameras and depths unknown (`State`, `start`, `iterate`).
* `category_prior`: one such distribution for each category, with what its cameras have in common (`Prior`, `learn`,
  and the posterior of images).
* `articulated`: such a distribution beside bones of constant length and smooth motion, as one energy, and its descent.
"""

from jnrsfm.shape_prior.category_prior import Learned as Learned
from jnrsfm.shape_prior.category_prior import Posterior as CategoryPosterior  # noqa: F401  (exported)
from jnrsfm.shape_prior.category_prior import Prior as CategoryPrior  # noqa: F401  (exported)
from jnrsfm.shape_prior.category_prior import learn as learn_category  # noqa: F401  (exported)
from jnrsfm.shape_prior.category_prior import posterior as category_posterior  # noqa: F401  (exported)
from jnrsfm.shape_prior.depth_conditional import DepthConditional as DepthConditional
from jnrsfm.shape_prior.depth_conditional import ShapeNormal as ShapeNormal
from jnrsfm.shape_prior.depth_conditional import condition_depths as condition_depths
from jnrsfm.shape_prior.depth_conditional import learn as learn_shape_normal  # noqa: F401  (exported)
from jnrsfm.shape_prior.procrustean_em import State as EmState  # noqa: F401  (exported)
from jnrsfm.shape_prior.procrustean_em import iterate as iterate_em  # noqa: F401  (exported)
from jnrsfm.shape_prior.procrustean_em import start as start_em  # noqa: F401  (exported)
from jnrsfm.shape_prior.procrustean_normal import CodePosterior as CodePosterior
from jnrsfm.shape_prior.procrustean_normal import ProcrusteanNormal as ProcrusteanNormal
from jnrsfm.shape_prior.procrustean_normal import ShapePosterior as ShapePosterior
from jnrsfm.shape_prior.procrustean_normal import code_posterior as code_posterior
