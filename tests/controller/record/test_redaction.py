"""A secret is known by its key, by its form, and because the process holds it."""

import itertools
from pathlib import Path
from secrets import token_hex

import pytest

from controller.record import redaction
from controller.record.dialling import SURELY_NEW_S, FromFile, FromLakebase
from controller.record.redaction import MOST, REDACTED, clean, hide
from controller.settings import secret_of


@pytest.fixture(autouse=True)
def _forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """What these tests hide is nobody else's secret."""
    monkeypatch.setattr(redaction, "_live", {})


@pytest.mark.parametrize(
    "secret",
    [
        "dapi0123456789abcdef0123456789abcdef-2",
        "dose0123456789abcdef0123456789abcdef",
        "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJoZWFkZ2F0ZSJ9.c2lnbmF0dXJl",
        "Bearer abcdefgh.12345678",
        "Basic aGVhZGdhdGU6c2VjcmV0",
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#releases",
        "mailtos://headgate:word@example.com?to=oncall@example.com",
        "tgram://123456789:abcdefg_hijklmnop/12315544",
        "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        "https://discord.com/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "password=word",
        "client_secret=another",
    ],
)
def test_each_form_of_a_secret_is_known(secret: str) -> None:
    assert clean(f"it was {secret} there") == f"it was {REDACTED} there"


def test_of_an_address_the_place_is_kept_and_who_signs_in_is_not() -> None:
    told = clean("no answer from postgresql://headgate:word@db.example.com:5432/headgate?a=b")
    assert told == f"no answer from postgresql://{REDACTED}@db.example.com:5432/headgate?a=b"


@pytest.mark.parametrize(
    "told",
    [
        "sqlite:///headgate.db",
        "https://example.cloud.databricks.com/api/2.0/serving-endpoints",
        "http://127.0.0.1:8350",
        "models:/main.a.rag/2",
        "postgresql://user@host/database",
        "candidate 30 of 300 failed (10 %), stable 0 of 5,700 failed (0 %)",
        "HEADGATE_TOKEN_FILE=/run/secrets/token: others may read or change it",
    ],
)
def test_what_is_no_secret_is_told_as_it_is(told: str) -> None:
    assert clean(told) == told


def test_keys_that_name_secrets_hide_texts_and_keep_numbers() -> None:
    assert clean({"client_secret": "x", "tokens": 3, "inner": [{"api_key": "y"}]}) == {
        "client_secret": REDACTED,
        "tokens": 3,
        "inner": [{"api_key": REDACTED}],
    }


def test_what_the_process_holds_is_hidden_wherever_it_is_and_however_it_is_written() -> None:
    hide("correct horse/battery", None)
    assert clean("xcorrect horse/batteryx") == f"x{REDACTED}x"
    assert clean("?p=correct%20horse%2Fbattery&q") == f"?p={REDACTED}&q"


def test_a_word_of_the_language_is_no_secret() -> None:
    """A password that is `postgres` must not make the log unreadable."""
    hide("postgres", "short7!")
    assert clean("postgres said short7!") == "postgres said short7!"


def test_of_what_is_renewed_the_newest_values_are_hidden() -> None:
    values = [f"value-{token_hex(8)}" for _ in range(2 * MOST)]
    for value in values:
        hide(value, renewing="the token")
    assert all(clean(value) == REDACTED for value in values[-MOST:])
    assert clean(values[0]) == values[0]
    hide(values[-MOST], "another-value-1", renewing="the token")
    assert clean(values[-MOST]) == REDACTED, "one that is used again is new"


def test_what_is_never_renewed_stays_hidden_however_often_tokens_are() -> None:
    """A daemon runs for months, and its own token is told to it once."""
    stays = [f"static-{token_hex(8)}/{number}" for number in range(2 * MOST)]
    hide(*stays)
    hide("a-password-of-the-store", renewing="the store's password")
    renewed = [f"token-{token_hex(8)}" for _ in range(200)]
    for value in renewed:
        hide(value, renewing="the workspace's token")
    assert all(clean(f"it was {value}") == f"it was {REDACTED}" for value in stays)
    assert clean("?p=" + stays[0].replace("/", "%2F")) == f"?p={REDACTED}"
    assert clean("a-password-of-the-store") == REDACTED, "what is renewed seldom is not pushed out"
    hidden = [clean(value) == REDACTED for value in renewed]
    assert hidden == [False] * (len(renewed) - MOST) + [True] * MOST


def test_the_daemons_token_stays_hidden_through_two_hundred_renewals_of_the_stores_passwords(
    tmp_path: Path,
) -> None:
    own, given = tmp_path / "token", [f"lakebase-{token_hex(8)}" for _ in range(200)]
    mounted, written = tmp_path / "password", [f"vault-{token_hex(8)}" for _ in range(200)]
    own.write_text("static-0123456789abcdef-0123456789abcdef")
    own.chmod(0o600)
    token = secret_of("HEADGATE_TOKEN_FILE", {"HEADGATE_TOKEN_FILE": str(own)})
    tokens, ticks = iter(given), itertools.count(step=SURELY_NEW_S)
    renewed = FromLakebase("db", lambda _: next(tokens), lambda: next(ticks))
    while renewed(refused=True) != given[-1]:
        pass
    for password in written:
        mounted.write_text(password)
        mounted.chmod(0o600)
        FromFile(mounted)(refused=False)
    assert clean(token) == REDACTED
    for values in (given, written):
        assert clean(values[-1]) == REDACTED
        assert clean(values[0]) == values[0], "it ended long ago"
