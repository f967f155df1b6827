"""``python -m zfjax``."""

import sys

from zfjax.cli import main

sys.exit(main())
