"""The one engine: scanned steps, restarts side by side, checkpoints, progress. Knows no particular method."""

from jnrsfm.training.config import TrainConfig as TrainConfig
from jnrsfm.training.engine import Engine as Engine
from jnrsfm.training.optimizers import averaged as averaged
from jnrsfm.training.optimizers import scheduled as scheduled
from jnrsfm.training.problem import Mean as Mean
from jnrsfm.training.problem import Phase as Phase
from jnrsfm.training.problem import Problem as Problem
from jnrsfm.training.problem import Trained as Trained
from jnrsfm.training.problem import TrainState as TrainState
from jnrsfm.training.problem import at as at
from jnrsfm.training.problem import stacked as stacked
from jnrsfm.training.session import Session as Session
from jnrsfm.training.sources import Resident as Resident
from jnrsfm.training.sources import Streamed as Streamed
