"""Print the state diagram: `python -m states`."""

import sys

from states.machine import diagram

sys.stdout.write(diagram() + "\n")
