"""``python -m robustvit.cli``."""

import sys

from robustvit.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
