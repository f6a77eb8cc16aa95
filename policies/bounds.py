"""The error rates that Headgate promises, and the evidence that they ask for."""

import math

FALSE_ROLLBACK = 0.01
"""Chance that a release no worse than stable is ever rolled back on its evidence."""
FALSE_PASS = 0.05
"""Chance that a step opens for a candidate that is worse by the step's margin; by guard."""
CLOSES = math.log(1 / FALSE_ROLLBACK)
LEANS = math.log(2)
"""Evidence of harm, far below its bound, at which no step opens until it has gone down: it keeps
a version with half as many errors again from nearly two thirds of the users that it would meet."""
OPENS = math.log(1 / FALSE_PASS)
