"""`python -m jnrsfm` is the command line."""

import sys

from jnrsfm.cli import main

if __name__ == "__main__":
    sys.exit(main())
