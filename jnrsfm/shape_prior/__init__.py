"""The Procrustean normal distribution and its relatives, as distributions."""
