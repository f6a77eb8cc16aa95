from policies.golden import Finding, Round, judge


def asked(candidate: tuple[int, ...] = (), stable: tuple[int, ...] = ()) -> Round:
    return Round(asked=3, candidate_failed=candidate, stable_failed=stable, why="query 1: too slow")


def test_nothing_asked_is_nothing_known() -> None:
    assert judge(())[0] is Finding.AGAIN


def test_one_clean_round_passes_even_after_a_bad_one() -> None:
    assert judge((asked(),)) == (Finding.PASS, "all 3 golden queries passed")
    assert judge((asked((1,)), asked()))[0] is Finding.PASS


def test_stable_failing_alone_is_no_fault_of_the_candidate() -> None:
    assert judge((asked((), (1, 2)),))[0] is Finding.PASS


def test_one_failure_is_asked_about_again_and_the_same_twice_fails() -> None:
    assert judge((asked((1,)),))[0] is Finding.AGAIN
    finding, because = judge((asked((1,)), asked((1, 2))))
    assert finding is Finding.FAIL
    assert (
        because == "2 of 3 golden queries failed twice, and stable answers them: query 1: too slow"
    )


def test_another_query_failing_the_second_time_is_asked_about_again() -> None:
    assert judge((asked((1,)), asked((2,))))[0] is Finding.AGAIN


def test_a_query_that_both_fail_blames_the_environment_however_often() -> None:
    assert judge((asked((1,), (1,)),) * 5)[0] is Finding.ENVIRONMENT


def test_an_environment_that_recovers_for_stable_first_has_not_failed_the_candidate_twice() -> None:
    """The first failure was the environment's: only the second is the candidate's own."""
    rounds = (asked((1,), (1,)), asked((1,)))
    assert judge(rounds)[0] is Finding.AGAIN
    assert judge((*rounds, asked((1,))))[0] is Finding.FAIL


def test_an_own_failure_shows_through_a_failing_environment() -> None:
    assert judge((asked((1, 2), (1,)),) * 2)[0] is Finding.FAIL
