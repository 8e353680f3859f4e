"""Runs the command: `python -m ptxsim`."""

import sys

from .command import main

sys.exit(main())
