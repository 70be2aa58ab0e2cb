"""The one engine: scanned steps, restarts side by side, checkpoints, progress. Knows no particular method."""

from jnrsfm.training.config import TrainConfig as TrainConfig
from jnrsfm.training.engine import Engine as Engine
from jnrsfm.training.engine import Problem as Problem
from jnrsfm.training.engine import Trained as Trained
from jnrsfm.training.session import Session as Session
