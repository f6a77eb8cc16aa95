"""A variable that is misspelt is told of; one of somebody else's is not."""

import re
from pathlib import Path

import pytest

from controller.places import meant
from controller.variables import VARIABLES, misspelt

ROOT = Path(__file__).parents[2] / "controller"


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("HEADGATE_STROE", "HEADGATE_STORE"),
        ("HEADGATE_POOL", "HEADGATE_POLL"),
        ("HEADGAET_STORE", "HEADGATE_STORE"),
        ("DATABRICKS_WAREHOUSE", "DATABRICKS_WAREHOUSE_ID"),
    ],
)
def test_a_misspelt_variable_is_told_with_the_one_that_was_meant(name: str, meant: str) -> None:
    [told] = misspelt({name: "x", "HOME": "/"})
    assert told == f"{name} is set, and means nothing to Headgate: did you mean {meant}?"


@pytest.mark.parametrize(
    "environ",
    [
        {"HEADGATE_STORE": "x", "HEADGATE_STROE": "y"},
        {"HEADGATE_PORT": "tcp://10.0.0.1:80", "HEADGATE_SERVICE_HOST": "10.0.0.1"},
        {"HEADGATE_PORT_8350_TCP": "tcp://10.0.0.1:8350", "HEADGATE_KILLS": "100"},
        {"DATABRICKS_TOKEN": "x", "DATABRICKS_CONFIG_PROFILE": "y", "MLFLOW_TRACKING_URI": "z"},
    ],
)
def test_what_others_set_and_what_is_set_rightly_beside_it_is_let_be(
    environ: dict[str, str],
) -> None:
    assert list(misspelt(environ)) == []


def test_every_variable_that_the_code_reads_is_in_the_list() -> None:
    texts = [file.read_text(encoding="utf-8") for file in ROOT.rglob("*.py")]
    read = {name for text in texts for name in re.findall(r'"(HEADGATE_[A-Z_]+[A-Z])"', text)}
    assert read == {name for name in VARIABLES if name.startswith("HEADGATE_")}


def test_a_sentence_names_few_of_thousands() -> None:
    known = [f"application-{number}" for number in range(10_000)]
    told = meant("other", known, "there is")
    assert told.endswith("application-19 and 9980 more")
    assert meant("aplication-77", known) == "; did you mean application-77?"
