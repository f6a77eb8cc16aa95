"""The error rates that Headgate promises, and the evidence that they ask for."""

import math

FALSE_ROLLBACK = 0.01
"""Chance that a release no worse than stable is ever rolled back on its evidence."""
FALSE_PASS = 0.05
"""Chance that one proof opens a step for a candidate that is worse by its margin; by guard. A proof
begins anew with each span: with the step, and where the step was held, shut or cut."""
CLOSES = math.log(1 / FALSE_ROLLBACK)
LEANS = 0.0
"""Log evidence of harm above which no step opens: as long as harm is the likelier, by what was
counted. It keeps a version with twice the errors from a tenth of the users that it would meet."""
OPENS = math.log(1 / FALSE_PASS)
