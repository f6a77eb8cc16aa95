"""Every threat on the page on security has its test, and every link leads somewhere."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
LINK = re.compile(r"\[(?P<name>[^]]+)\]\((?!http)(?P<path>[^)#]+)\)")
THREATS = PAGE.partition("## Threats and their tests")[2].partition("\n## ")[0]


def test_every_threat_has_a_test_that_is_there() -> None:
    rows = [row for row in THREATS.splitlines() if row.startswith("| ")][2:]
    assert len(rows) > 15
    for row in rows:
        link = LINK.search(row)
        assert link is not None, row
        text = (ROOT / link["path"]).read_text(encoding="utf-8")
        assert f"def {link['name']}(" in text, row


def test_every_link_leads_to_a_file() -> None:
    missing = [link["path"] for link in LINK.finditer(PAGE) if not (ROOT / link["path"]).is_file()]
    assert missing == []


def test_every_variable_that_the_page_names_is_one() -> None:
    from controller.variables import VARIABLES  # noqa: PLC0415 - nothing else here needs it

    assert set(re.findall(r"HEADGATE_[A-Z_]+", PAGE)) <= set(VARIABLES)
