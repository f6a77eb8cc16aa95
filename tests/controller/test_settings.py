from datetime import timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from controller.console.cli import app
from controller.settings import ProcessSettings, SettingsError, load
from policies.guards import Guards, LatencyGuard, LengthGuard, ScoreGuard, TokenGuard
from policies.replay import Margins, Replay
from policies.rollout import Rollout
from states.counted import Counted, Paths

LEAST = """\
applications:
  rag-chatbot:
    model: main.ml_models.rag_chatbot
    endpoint: rag-chatbot-endpoint
    tests:
      - query: What are the key features of Delta Lake?
        expect: {answer_contains: [ACID], min_sources: 1}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "headgate.yaml"


def refusal(file: Path, text: str) -> str:
    file.write_text(text)
    with pytest.raises(SettingsError) as refused:
        load(file)
    return str(refused.value)


def test_the_least_configuration_is_enough_and_the_rest_are_the_policies_defaults(
    file: Path,
) -> None:
    file.write_text(LEAST)
    spec = load(file).applications["rag-chatbot"].spec()
    assert spec.rollout == Rollout()
    assert spec.guards == Guards()
    answer, sources = "$.predictions[0].answer", "$.predictions[0].sources"
    assert spec.counted == Counted(paths=Paths(answer=answer, sources=sources))
    assert not spec.counted.by_session
    assert spec.alias == "production"
    assert spec.tests[0].answer_contains == ("ACID",)
    assert not spec.environment_declared


MERGED = (
    LEAST.replace("rag-chatbot:", "rag-chatbot: &first", 1)
    + """\
  other:
    <<: *first
    model: main.ml_models.other
    endpoint: other-endpoint
"""
)


def test_what_applications_share_is_written_once_and_each_may_differ(file: Path) -> None:
    file.write_text(MERGED)
    found = load(file).applications
    assert found["other"].model == "main.ml_models.other"
    assert found["other"].stated_tests == found["rag-chatbot"].stated_tests
    told = refusal(file, MERGED + "    poll: 3\n")
    assert told.startswith(f"{file}:12: "), "the line is that of the file"
    assert "given twice" in refusal(file, MERGED + "    model: main.ml_models.third\n")


def test_what_contains_itself_is_refused(file: Path) -> None:
    assert "nests too deep" in refusal(file, "applications: &all\n  one: *all\n")


def test_durations_and_shares_are_read_as_they_are_written(file: Path) -> None:
    file.write_text(
        LEAST
        + "    rollout: {bake: 90m, patience: 2d, settle: 500ms}\n"
        + "    guards: {errors: {margin: 0.25pp, limit: 3%}}\n"
        + "    alias: none\n    serving: {environment: none}\n"
    )
    spec = load(file).applications["rag-chatbot"].spec()
    assert spec.rollout.bake == timedelta(minutes=90)
    assert spec.rollout.patience == timedelta(days=2)
    assert spec.rollout.settle == timedelta(seconds=0.5)
    assert spec.guards.errors.margin == pytest.approx(0.0025)
    assert spec.guards.errors.limit == pytest.approx(0.03)
    assert spec.alias is None
    assert spec.environment_declared


@pytest.mark.parametrize(
    ("added", "line", "words"),
    [
        ("    rolout: {}\n", 8, "did you mean rollout?"),
        ("    guards: {errors: {margn: 1pp}}\n", 8, "did you mean margin?"),
        ("    guards:\n      errors:\n        margin: 5\n", 10, "such as 0.5pp or 5%"),
        ("    rollout: {bake: 10}\n", 8, "such as 30s, 10m, 1h or 7d"),
        ("    rollout: {steps: [5, 25]}\n", 8, "that end at 100"),
        ("    rollout: {steps: [50, 25, 100]}\n", 8, "rising percentages"),
        ("    rollout: {hold_back: 5pp}\n", 8, "write a whole percentage such as 5%"),
        ("    rollout: {hold_back: 30%}\n", 8, "less than or equal to 20"),
        (
            "    rollout: {hold_back: 10%, steps: [5, 95, 100]}\n",
            8,
            "leaves 90 % for the last step, which is not above the 95 % before it",
        ),
        ("    rollout: {hold_back: 10%, bake: 0s}\n", 8, "hold_back is for the bake"),
        ("    rollout: {patience: 999999999999d}\n", 8, "a duration of at most 365d"),
        ("    alias: a/b\n", 8, "letters, digits"),
        ("    admission: {windows: [weekdays]}\n", 8, "write a window such as `Mon-Fri 09:00"),
        ("    admission: {windows: [Mon 9:00-17:00]}\n", 8, "write a window such as"),
        ("    admission: {windows: [Mon 09:00-17:00 Mars/Base]}\n", 8, "Mars/Base is no time zone"),
        ("    admission: {approval: always}\n", 8, "before_canary"),
        ("    admission: {order: oldest}\n", 8, "newest"),
        (
            "    admission:\n      freeze:\n      - {from: 2026-12-20, to: 2026-12-19}\n",
            10,
            "`from` comes before `to`",
        ),
        ("    admission:\n      freeze:\n      - {from: soon, to: 2026-12-19}\n", 10, "date"),
        (
            "    admission:\n      freeze:\n      - {from: 2026-12-20, to: 9999-12-31}\n",
            10,
            "write years from 2 to 9998",
        ),
        ("    admission: {required_tags: ['']}\n", 8, "at least 1 character"),
        ("    inference_table: {catalog: '', schema: logs}\n", 8, "one part of a name"),
        ("    inference_table: {catalog: main, schema: a b}\n", 8, "one part of a name"),
        ("    endpoint: other\n", 8, "given twice"),
        (
            "    serving: {workload_size: Small, min_concurrency: 4, max_concurrency: 8}\n",
            8,
            "not both",
        ),
    ],
)
def test_what_is_wrong_is_named_with_its_line_and_the_remedy(
    file: Path, added: str, line: int, words: str
) -> None:
    told = refusal(file, LEAST + added)
    assert f"{file}:{line}:" in told
    assert words in told


def test_a_misspelt_key_below_a_test_is_the_only_complaint(file: Path) -> None:
    told = refusal(file, LEAST.replace("min_sources", "min_source"))
    assert told.count("\n") == 0
    assert "did you mean min_sources?" in told


def test_each_mistake_is_a_line_and_nothing_that_stands_in_the_file_makes_another(
    file: Path,
) -> None:
    file.write_text(LEAST + '    rolout: {}\n    "a\\nb": {}\n')
    told = CliRunner().invoke(app, ["validate", "--config", str(file)]).stderr.splitlines()
    assert [one.split(" ")[1] for one in told] == [f"{file}:8:", f"{file}:9:"]
    assert all(one.startswith("headgate: ") for one in told)


def test_a_model_is_named_in_three_parts(file: Path) -> None:
    told = refusal(file, LEAST.replace("main.ml_models.rag_chatbot", "rag_chatbot"))
    assert "catalog.schema.model" in told


def test_two_applications_cannot_share_an_endpoint(file: Path) -> None:
    other = LEAST.split("\n", 1)[1].replace("  rag-chatbot:", "  twin:")
    assert "share one endpoint" in refusal(file, LEAST + other)


def test_two_applications_on_one_model_cannot_share_an_alias_but_may_both_have_none(
    file: Path,
) -> None:
    other = LEAST.split("\n", 1)[1].replace("rag-chatbot", "twin")
    assert "share one model and alias" in refusal(file, LEAST + other)
    line = "    model: main.ml_models.rag_chatbot\n"
    file.write_text((LEAST + other).replace(line, f"{line}    alias: none\n"))
    assert set(load(file).applications) == {"rag-chatbot", "twin"}


@pytest.mark.parametrize("text", ["", "[]", "applications: {}", "applications:\n  - a\n"])
def test_a_file_without_applications_is_refused(file: Path, text: str) -> None:
    assert str(file) in refusal(file, text)


def test_what_is_not_yaml_is_named_with_its_line(file: Path) -> None:
    assert f"{file}:3:" in refusal(file, "applications:\n  a: [\n")


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="cannot be read: No such file"):
        load(tmp_path / "nowhere.yaml")


def test_process_settings_come_from_the_environment_alone() -> None:
    settings = ProcessSettings.read({"HEADGATE_POLL": "5s", "DATABRICKS_WAREHOUSE_ID": "w"})
    assert settings.poll == timedelta(seconds=5)
    assert settings.warehouse == "w"
    assert settings.store == "sqlite:///headgate.db"


@pytest.mark.parametrize(
    ("name", "value"), [("HEADGATE_POLL", "5"), ("HEADGATE_POLL", "1ms"), ("HEADGATE_LOG", "xml")]
)
def test_a_wrong_process_setting_names_its_variable(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"{name}={value}: "):
        ProcessSettings.read({name: value})


def test_a_file_that_is_no_text_is_a_sentence(file: Path) -> None:
    file.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match="is not UTF-8 text"):
        load(file)


FULL = """\
    response: {answer: $.text, sources: "$['used sources']", tokens: "$.usage[0].total"}
    request: {session: $.session_id}
    evidence:
      every: 1m
      queries:
        gateway: {sql: "SELECT * FROM main.logs.gateway;", counts: errors}
        groundedness: {sql: "WITH a AS (SELECT 1) SELECT * FROM a", counts: score}
    guards:
      errors: {observe: true}
      latency: {margin: 10%, limit: 8s}
      answers: {margin: 3pp}
      tokens: {margin: 50%, observe: true, price_per_1k: 0.002}
      capacity: {margin: 2pp, observe: true}
      groundedness: {margin: 4pp}
      length: {margin: 5pp}
"""


def test_every_guard_of_the_file_is_the_policies_guard(file: Path) -> None:
    file.write_text(LEAST + FULL)
    one = load(file).applications["rag-chatbot"]
    spec = one.spec()
    guards = spec.guards
    assert guards.errors.observe
    assert guards.latency == LatencyGuard(margin=0.1, limit_ms=8000)
    assert guards.answers.margin == pytest.approx(0.03)
    assert guards.tokens == TokenGuard(margin=0.5, observe=True, price_per_1k=0.002)
    assert guards.length == LengthGuard(margin=0.05)
    assert (guards.capacity.margin, guards.capacity.observe) == (0.02, True)
    assert guards.scores == {"groundedness": ScoreGuard(margin=0.04)}
    gateway, groundedness = spec.counted.queries
    assert (gateway.name, gateway.counts) == ("gateway", "errors")
    assert (groundedness.name, groundedness.counts) == ("groundedness", "score")
    assert gateway.sql == "SELECT * FROM main.logs.gateway"
    assert spec.counted.by_session


def test_tokens_are_guarded_by_default_once_a_response_tells_them(file: Path) -> None:
    file.write_text(LEAST + "    response: {tokens: $.usage.total}\n")
    assert load(file).applications["rag-chatbot"].spec().guards.tokens == TokenGuard()


def test_a_score_is_guarded_by_default_once_a_query_brings_it(file: Path) -> None:
    file.write_text(
        LEAST + "    evidence: {queries: {relevance: {sql: SELECT 1, counts: score}}}\n"
    )
    guards = load(file).applications["rag-chatbot"].spec().guards
    assert guards.scores == {"relevance": ScoreGuard()}


@pytest.mark.parametrize(
    ("before", "after", "line", "words"),
    [
        ("latency: {margin: 10%", "latncy: {margin: 10%", 17, "did you mean latency?"),
        ("      groundedness: {margin", "      groundednes: {margin", 21, "did you mean grounded"),
        ("groundedness: {margin: 4pp", "gateway: {margin: 4pp", 21, "in guards.errors"),
        ("groundedness: {margin: 4pp", "groundedness: {limit: 4pp", 21, "known: margin, observe"),
        (', tokens: "$.usage[0].total"', "", 19, "response.tokens"),
        ("margin: 10%", "margin: 10pp", 17, "such as 25%"),
        ("limit: 8s", "limit: 8", 17, "such as 30s"),
        ("price_per_1k: 0.002", "price_per_1k: 0", 19, "greater than 0"),
        ("price_per_1k: 0.002", "price_per_1k: .inf", 19, "finite"),
        ("limit: 8s", "limit: 0s", 17, "above 0, such as 30s"),
        ("every: 1m", "every: 0m", 11, "above 0, such as 30s"),
        ("$.text", "text", 8, "must begin with $"),
        ("$.session_id", "$.session id", 9, "at character 10"),
        ('sql: "SELECT', 'sgl: "SELECT', 13, "did you mean sql?"),
        ("counts: errors", "count: errors", 13, "did you mean counts?"),
        ("counts: score", "counts: scores", 14, "'errors', 'latency' or 'score'"),
        ("counts: score", "counts: errors", 21, "set its margin in guards.errors"),
        ('gateway: {sql: "SELECT *', 'gateway: {sql: "DELETE', 13, "write one SELECT"),
        ("FROM main.logs.gateway;", "FROM a; DROP TABLE a", 13, "write one SELECT"),
        ("FROM main.logs.gateway;", "FROM a -- all", 13, "without a semicolon, a comment"),
        ("FROM main.logs.gateway;", "FROM (SELECT 1", 13, "its parentheses do not match"),
        ("$.text", "\"$['te*xt']\"", 8, "no quote, star or line end"),
        ("$.session_id", "\"$['a*b']\"", 9, "no quote, star or line end"),
        ("gateway: {sql", "a.b: {sql", 13, "name a query"),
    ],
)
def test_a_guard_or_source_that_is_not_one_is_named_with_its_line(
    file: Path, before: str, after: str, line: int, words: str
) -> None:
    assert before in FULL
    told = refusal(file, LEAST + FULL.replace(before, after))
    assert f"{file}:{line}:" in told
    assert words in told


GATEWAY = "    evidence: {{queries: {{gateway: {{sql: SELECT 1, counts: {0}}}}}}}\n"


def test_a_limit_that_no_query_could_break_is_refused_and_a_default_one_is_not(file: Path) -> None:
    limited = "    guards: {errors: {limit: 5pp}}\n"
    mute, telling = GATEWAY.format("errors"), GATEWAY.format("errors, server_errors: true")
    told = refusal(file, LEAST + mute + limited)
    assert "guards.errors.limit: query gateway does not tell server errors apart" in told
    assert "server_errors: true in evidence.queries.gateway" in told
    assert f"{file}:9:" in told
    for text, known in ((mute, False), (telling, True), (telling + limited, True)):
        file.write_text(LEAST + text)
        [query] = load(file).applications["rag-chatbot"].spec().counted.queries
        assert query.server_errors is known


def test_only_errors_are_the_servers(file: Path) -> None:
    told = refusal(file, LEAST + GATEWAY.format("latency, server_errors: true"))
    assert "gateway.server_errors: only errors are the server's, and this counts latency" in told


def test_two_queries_cannot_count_for_one_guard(file: Path) -> None:
    two = "{a: {sql: SELECT 1, counts: latency}, b: {sql: SELECT 2, counts: latency}}"
    told = refusal(file, LEAST + f"    evidence: {{queries: {two}}}\n")
    assert "evidence.queries.b: a counts latency already" in told


@pytest.mark.parametrize("name", ["tokens", "length", "shorter", "longer"])
def test_a_score_cannot_have_the_name_of_another_guard(file: Path, name: str) -> None:
    one = f"{{{name}: {{sql: SELECT 1, counts: score}}}}"
    told = refusal(file, LEAST + f"    evidence: {{queries: {one}}}\n")
    assert "name the score otherwise" in told


@pytest.mark.parametrize(
    ("guards", "place"),
    [
        ("errors: {margin: 0.5}", "errors.margin"),
        ("errors: {margin: 20pp}", "errors.margin"),
        ("errors: {margin: 50%}", "errors.margin"),
        ("answers: {margin: 17pp}", "answers.margin"),
        ("latency: {margin: 120%}", "latency.margin"),
        ("tokens: {margin: 120%}", "tokens.margin"),
        ("length: {margin: 17pp}", "length.margin"),
        ("quality: {margin: 17pp}", "quality.margin"),
    ],
)
def test_a_margin_that_would_let_anything_pass_is_refused(
    file: Path, guards: str, place: str
) -> None:
    extra = (
        "    response: {tokens: $.n}\n"
        "    evidence: {queries: {quality: {sql: SELECT 1, counts: score}}}\n"
    )
    told = refusal(file, LEAST + extra + f"    guards: {{{guards}}}\n")
    assert f"guards.{place}" in told
    assert f"{file}:10:" in told


def test_a_default_margin_that_would_let_anything_pass_is_refused_too(file: Path) -> None:
    query = "{queries: {quality: {sql: SELECT 1, counts: score}}}"
    extra = f"    evidence: {query}\n    rollout: {{steps: [1, 100]}}\n"
    told = refusal(file, LEAST + extra)
    assert "guards.quality.margin: the step at 1 % would be judged by 100 pp" in told


def test_margins_are_of_no_matter_where_nothing_is_compared(file: Path) -> None:
    extra = "    guards: {errors: {margin: 20pp}}\n    rollout: {steps: [100]}\n"
    file.write_text(LEAST + extra)
    assert load(file).applications["rag-chatbot"].spec().guards.errors.margin == 0.2


REPLAYED = (
    LEAST
    + """\
    replay:
      safe_to_repeat: true
      hours: 48
      within: 20m
      margins: {errors: 3pp, latency: 50%}
      on_undecided: go_on
"""
)


def test_a_replay_is_configured_and_off_without(file: Path) -> None:
    file.write_text(LEAST)
    assert load(file).applications["rag-chatbot"].spec().replay is None
    file.write_text(REPLAYED)
    assert load(file).applications["rag-chatbot"].spec().replay == Replay(
        over=timedelta(hours=48),
        within=timedelta(minutes=20),
        margins=Margins(errors=0.03, latency=0.5),
        on_undecided="go_on",
    )


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("safe_to_repeat: true", "requests: 200", ":8: applications.rag-chatbot.replay"),
        ("safe_to_repeat: true", "requests: 200", "what is asked again may also be done again"),
        ("safe_to_repeat: true", "safe_to_repeat: false", "say `safe_to_repeat: true` if that"),
        ("within: 20m", "within: 50m", "replay.within: tests have 60 minutes in all"),
        ("within: 20m", "requests: 100", "100 pairs without a difference do not show answers"),
        ("within: 20m", "requests: 2001", "replay.requests: "),
        ("latency: 50%", "latency: 300%", "write a margin of at most 200%"),
        ("hours: 48", "days: 2", "replay.days"),
    ],
)
def test_a_replay_that_could_do_harm_or_show_nothing_is_refused(
    file: Path, before: str, after: str, sentence: str
) -> None:
    assert sentence in refusal(file, REPLAYED.replace(before, after))


ADMISSION = """\
    admission:
      required_tags: [git_sha]
      approval: before_production
      order: every
      windows: ["Mon-Fri 09:00-17:00 Europe/Berlin"]
      freeze:
        - {from: 2026-12-20, to: 2027-01-03, zone: Europe/Berlin, reason: holidays}
        - {from: 2026-11-27 18:00:00, to: 2026-11-27T20:00:00+01:00}
"""


@pytest.mark.parametrize("day", ["2027-01-03", "'2027-01-03'"])
def test_the_rules_of_admission_are_read_as_they_are_written(file: Path, day: str) -> None:
    """In quotes, as JSON has it, the last day of a freeze is frozen whole as well."""
    assert "2027-01-03" in ADMISSION
    file.write_text(LEAST + ADMISSION.replace("2027-01-03", day))
    rules = load(file).applications["rag-chatbot"].spec().admission
    assert (rules.required_tags, rules.approval, rules.order) == (
        ("git_sha",),
        "before_production",
        "every",
    )
    assert [one.text for one in rules.windows] == ["Mon-Fri 09:00-17:00 Europe/Berlin"]
    days, hours = rules.freezes
    assert (days.begins.isoformat(), days.ends.isoformat()) == (
        "2026-12-19T23:00:00+00:00",
        "2027-01-03T23:00:00+00:00",
    )
    assert (hours.begins.isoformat(), hours.ends.isoformat()) == (
        "2026-11-27T18:00:00+00:00",
        "2026-11-27T19:00:00+00:00",
    )


def test_validate_says_what_the_rules_of_admission_mean(file: Path) -> None:
    file.write_text(LEAST + ADMISSION)
    told = CliRunner().invoke(app, ["validate", "--config", str(file)])
    assert told.exit_code == 0
    for line in (
        "required tags: git_sha",
        "asks a person before the alias moves, once the bake has ended",
        "begins only in Mon-Fri 09:00-17:00 Europe/Berlin",
        "frozen (holidays) from Sun 2026-12-20 00:00 Europe/Berlin to Mon 2027-01-04 00:00",
        "every version has its turn, oldest first",
    ):
        assert line in told.stdout
