"""Networks as Flax NNX modules: no losses, no data."""
