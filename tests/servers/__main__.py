"""The keeper of one throwaway server: `python -m tests.servers KIND HOME`."""

import sys
from pathlib import Path

from . import KINDS
from .keeper import keep

keep(KINDS[sys.argv[1]], Path(sys.argv[2]))
