"""The one engine: scanned steps, restarts side by side, checkpoints, progress. Knows no particular method."""

from jnrsfm.training.config import TrainConfig as TrainConfig
from jnrsfm.training.engine import Engine as Engine
from jnrsfm.training.muon import orthogonalized as orthogonalized
from jnrsfm.training.muon import scale_by_muon as scale_by_muon
from jnrsfm.training.optimizers import AverageState as AverageState
from jnrsfm.training.optimizers import averaged as averaged
from jnrsfm.training.optimizers import evaluated as evaluated
from jnrsfm.training.optimizers import scheduled as scheduled
from jnrsfm.training.optimizers import share_done as share_done
from jnrsfm.training.optimizers import warm_up as warm_up
from jnrsfm.training.problem import Mean as Mean
from jnrsfm.training.problem import Phase as Phase
from jnrsfm.training.problem import Problem as Problem
from jnrsfm.training.problem import Trained as Trained
from jnrsfm.training.problem import TrainState as TrainState
from jnrsfm.training.problem import as_mean as as_mean
from jnrsfm.training.problem import at as at
from jnrsfm.training.problem import stacked as stacked
from jnrsfm.training.session import Session as Session
from jnrsfm.training.sources import Resident as Resident
from jnrsfm.training.sources import Source as Source
from jnrsfm.training.sources import Streamed as Streamed
from jnrsfm.training.sources import take as take
