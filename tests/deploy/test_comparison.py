"""The comparison says nothing of Headgate without a test, nor of a peer without a source."""

import re
from pathlib import Path
from statistics import median

import pytest

from controller.settings import load
from tests.benchmarks.arena import Case
from tests.benchmarks.peers.sagemaker import SageMaker, guide
from tests.benchmarks.protocol import Make
from tests.benchmarks.test_claims import RAMP_S, releases
from tests.benchmarks.traces import Effect, constant
from tests.markdown import LINK, ROOT, Page

PAGE = Page.of("deploy/guide/comparison.md")
README = Page.of("README.md")
TEXT = PAGE.text
KEY = re.compile(r"\[(?P<key>[A-Z]\d+)\](?!:)")
DEFINED = dict(re.findall(r"^\[([A-Z]\d+)\]: (https://\S+)$", TEXT, re.MULTILINE))
SAYS_NOTHING = {"\N{EN DASH}", "not found"}
COMPARED = ("What it moves", "How it decides", "When something happens", "Around it")


def section(title: str, page: Page = PAGE) -> str:
    return page.section(f"## {title}")


def rows(text: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def named_tests(text: str) -> int:
    return sum(bool(link["path"] and link["name"]) for link in LINK.finditer(text))


@pytest.mark.parametrize("title", COMPARED)
def test_what_is_said_of_headgate_has_a_test_or_a_page_and_of_a_peer_a_source(title: str) -> None:
    for question, ours, *peers in rows(section(title)):
        assert LINK.search(ours), question
        assert len(peers) == 5, question
        for cell in peers:
            assert cell in SAYS_NOTHING or KEY.search(cell), (question, cell)


def test_what_is_called_tested_names_its_test() -> None:
    said = 0
    pieces = [cell for title in COMPARED for row in rows(section(title)) for cell in row]
    pieces += re.split(r"\n\n|\n- ", section("When to choose which"))
    pieces += re.split(r"\n\n|\n- ", section("Where they are better"))
    for piece in pieces:
        claims = len(re.findall(r"\btested\b", piece))
        assert named_tests(piece) >= claims, piece
        said += claims
    assert said >= 10


def test_every_source_is_there_once_is_used_and_is_listed_with_what_it_is() -> None:
    listed = set(KEY.findall(section("Sources")))
    used = set(KEY.findall(TEXT.partition("\n## Sources\n")[0]))
    assert used == listed == set(DEFINED)
    assert len(set(DEFINED.values())) == len(DEFINED)


def test_what_was_read_in_a_repository_is_named_with_its_commit() -> None:
    for key, address in DEFINED.items():
        if address.startswith("https://github.com/") and "/issues/" not in address:
            assert re.search(r"/blob/[0-9a-f]{40}/", address), key
    for peer in ("argo", "flagger"):
        read = (ROOT / f"tests/benchmarks/peers/{peer}.py").read_text(encoding="utf-8")
        commit = re.search(r" at ([0-9a-f]{7,}) ", read)
        assert commit is not None
        assert any(f"/blob/{commit[1]}" in address for address in DEFINED.values()), peer


def test_the_figures_are_those_of_the_readme() -> None:
    stated = {row[0]: row[1:] for row in rows(section("How it compares", README))}
    mine = {row[0]: row[1:3] for row in rows(section("Measured"))}
    assert len(mine) >= 5
    for question, figures in mine.items():
        assert stated[question] == figures, question
    least = next(row[1] for row in rows(section("How it decides")) if row[0] == "least sample")
    numbers = re.findall(r"\b\d{3}\b", least)
    assert numbers
    assert f"need {', '.join(numbers[:-1])} and {numbers[-1]} requests" in README.text


@pytest.mark.parametrize(("column", "alarm"), [(3, SageMaker), (4, guide)])
@pytest.mark.parametrize("errors", [0.05, 0.20])
def test_what_an_alarm_exposes_is_what_the_page_says(
    column: int, alarm: Make, errors: float
) -> None:
    """By some of the benchmark's own; the median hardly varies, for alarms ring with a period."""
    case = Case(constant(100.0), Effect(extra=errors - 0.005), horizon_s=RAMP_S)
    begins = f"{errors:.0%}".replace("%", " % errors, 100 requests/s")
    found = next(row for row in rows(section("Measured")) if row[0].startswith(begins))
    exposed = median(one.exposed for one in releases(alarm, case, range(1_000_000, 1_000_050)))
    assert exposed == pytest.approx(float(found[column].replace(",", "")), rel=0.03)


def test_the_configuration_with_a_deployment_jobs_approval_is_valid(tmp_path: Path) -> None:
    file = tmp_path / "headgate.yaml"
    file.write_text(PAGE.block("headgate validate, approval by a deployment job", "yaml"))
    release = load(file).applications["rag-chatbot"]
    assert release.admission.approval == "before_canary"
