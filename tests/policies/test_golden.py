from policies.golden import Finding, GoldenQuery, Round, judge


def asked(candidate: tuple[int, ...] = (), stable: tuple[int, ...] = ()) -> Round:
    return Round(asked=3, candidate_failed=candidate, stable_failed=stable, why="query 1: too slow")


def test_nothing_asked_is_nothing_known() -> None:
    assert judge(()) == (Finding.AGAIN, "golden queries have not been asked yet")


def test_one_clean_round_passes_even_after_a_bad_one() -> None:
    assert judge((asked(),)) == (Finding.PASS, "all 3 golden queries passed")
    assert judge((asked((1,)), asked()))[0] is Finding.PASS


def test_stable_failing_alone_is_no_fault_of_the_candidate() -> None:
    assert judge((asked((), (1, 2)),))[0] is Finding.PASS


def test_one_failure_is_asked_about_again_and_the_same_twice_fails() -> None:
    once = "1 of 3 golden queries failed: query 1: too slow; asking once more"
    assert judge((asked((1,)),)) == (Finding.AGAIN, once)
    finding, because = judge((asked((1,)), asked((1, 2))))
    assert finding is Finding.FAIL
    assert (
        because == "1 of 3 golden queries failed twice, and stable answers them: query 1: too slow"
    )


def test_where_there_is_no_stable_version_none_is_said_to_answer() -> None:
    finding, because = judge((asked((1,)), asked((1,))), compared=False)
    assert finding is Finding.FAIL
    assert because == "1 of 3 golden queries failed twice: query 1: too slow"


def test_another_query_failing_the_second_time_is_asked_about_again() -> None:
    assert judge((asked((1,)), asked((2,))))[0] is Finding.AGAIN


def test_a_query_that_both_fail_blames_the_environment_however_often() -> None:
    both = "2 of 3 golden queries failed on both versions: the environment is at fault"
    assert judge((asked((1, 3), (1, 2, 3)),) * 5) == (Finding.ENVIRONMENT, both)


def test_an_environment_that_recovers_for_stable_first_has_not_failed_the_candidate_twice() -> None:
    """The first failure was the environment's: only the second is the candidate's own."""
    rounds = (asked((1,), (1,)), asked((1,)))
    assert judge(rounds)[0] is Finding.AGAIN
    assert judge((*rounds, asked((1,))))[0] is Finding.FAIL


def test_an_own_failure_shows_through_a_failing_environment() -> None:
    assert judge((asked((1, 2), (1,)),) * 2)[0] is Finding.FAIL


def test_a_repeated_query_passes_with_as_many_answers_as_it_must() -> None:
    query = GoldenQuery(query="q", repeat=3, must_pass=2)
    assert query.verdict((None, "min_sources: 0 sources, 1 expected", None)) is None
    assert query.verdict(("status 400", None, "status 500")) == (
        "status 400 (1 of 3 answers as expected, 2 needed)"
    )


def test_a_repeated_query_must_pass_every_time_unless_it_says_otherwise() -> None:
    query = GoldenQuery(query="q", repeat=2)
    assert query.verdict((None, None)) is None
    assert (
        query.verdict((None, "status 400")) == "status 400 (1 of 2 answers as expected, 2 needed)"
    )
