"""Linear algebra that the rest stands on: 3x3 kernels, proximal maps, completion, signs. Knows no cameras."""
