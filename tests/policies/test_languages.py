# ruff: noqa: RUF001 - letters that look like others are what this is about

import pytest

from policies.languages import NAMES, WORDS, languages

ANSWERS = {
    "ar": "يحتفظ الجدول بالملفات القديمة لمدة سبعة أيام.",
    "cs": "Tabulka uchovává staré soubory po dobu sedmi dnů, pokud není nastaveno jinak.",
    "de": "Die Tabelle bewahrt alte Dateien sieben Tage lang auf, wenn nichts anderes gesagt ist.",
    "el": "Ο πίνακας κρατά τα παλιά αρχεία για επτά ημέρες.",
    "en": "The table keeps old files for seven days, unless you say something else.",
    "es": "La tabla conserva los archivos antiguos durante siete días si no se dice otra cosa.",
    "fr": "La table garde les anciens fichiers pendant sept jours, sauf si vous dites autre chose.",
    "he": "הטבלה שומרת קבצים ישנים במשך שבעה ימים.",
    "hi": "तालिका पुरानी फ़ाइलों को सात दिनों तक रखती है।",
    "it": "La tabella conserva i vecchi file per sette giorni, se non si dice altro.",
    "ja": "このテーブルは古いファイルを七日間保存します。",
    "ko": "테이블은 오래된 파일을 7일 동안 보관합니다.",
    "nl": "De tabel bewaart oude bestanden zeven dagen lang, als er niets anders is gezegd.",
    "pl": "Tabela przechowuje stare pliki przez siedem dni, jeśli nie powiedziano inaczej.",
    "pt": "A tabela guarda os ficheiros antigos durante sete dias, se não for dito o contrário.",
    "ru": "Таблица хранит старые файлы семь дней, если не сказано иное.",
    "sv": "Tabellen behåller gamla filer i sju dagar, om inget annat har sagts.",
    "th": "ตารางจะเก็บไฟล์เก่าไว้เจ็ดวัน",
    "tr": "Tablo, başka bir şey söylenmediyse eski dosyaları yedi gün boyunca saklar.",
    "uk": "Таблиця зберігає старі файли сім днів, якщо не сказано інше.",
    "zh": "该表将旧文件保留七天。",
}


def test_there_is_an_answer_in_each_language_that_is_told_apart() -> None:
    assert ANSWERS.keys() == NAMES.keys()
    assert WORDS.keys() < NAMES.keys()


@pytest.mark.parametrize("code", ANSWERS)
def test_one_sentence_tells_its_language(code: str) -> None:
    assert languages(ANSWERS[code]) == {code}


def test_code_and_words_in_capitals_say_nothing() -> None:
    answer = (
        "Das geht so: `SELECT it FROM the_table` oder\n```\nwhat is in the table\n```\nund DO IT."
    )
    assert languages(answer) == {"de"}
    assert languages("SELECT IS NOT IN") == set()


def test_what_does_not_tell_is_not_guessed() -> None:
    assert languages("") == languages("42 %") == languages("VACUUM") == set()


def test_words_that_several_languages_share_leave_them_all_open() -> None:
    assert languages("la table") >= {"es", "fr", "it"}
