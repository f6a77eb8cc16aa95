"""Harm ends a release, whatever else is asked of it."""

from states.home import roll_back
from states.judging import harm_of, journal, observed_harm, setting_told
from states.release import Release
from states.turn import Turn


def go_back_on_harm(turn: Turn, release: Release) -> Release | None:
    """Roll back on harm; pause and hold do not stop it. A guard that observes reports its own.

    None once it was rolled back; else the release, with what was reported of it.
    """
    before = {"before": setting_told(release.before_whole)} if release.before_whole else {}
    for seen in observed_harm(release):
        release = journal(turn, release, seen, observe=True, **before)
    verdict = harm_of(release)
    if verdict is None:
        return release
    told = journal(turn, release, verdict, **before)
    roll_back(turn, told, f"{verdict.guard}: {verdict.because}")
    return None
