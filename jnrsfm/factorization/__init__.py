"""What factorisation solvers share: measurements, metric upgrade, camera search, shape steps, initial shapes."""
