"""Every threat on the page on security has its test."""

from tests.markdown import LINK, ROOT, Page

THREATS = Page.of("SECURITY.md").section("## Threats and their tests")


def test_every_threat_has_a_test_that_is_there() -> None:
    rows = [row for row in THREATS.splitlines() if row.startswith("| ")][2:]
    assert len(rows) > 15
    for row in rows:
        link = LINK.search(row)
        assert link is not None, row
        text = (ROOT / link["path"]).read_text(encoding="utf-8")
        assert f"def {link['words']}(" in text, row
