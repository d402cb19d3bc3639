"""Small helpers that the whole house shares: words of messages, digests, files of JSON lines."""

from pathlib import Path

import pytest

from orthogan.data.source import digest_of
from orthogan.errors import one_line, some
from orthogan.files import json_lines
from orthogan.judging import results
from orthogan.settings import digest_of_text


def test_an_error_becomes_one_line():
    assert one_line(ValueError("a\n  b\tc ")) == "a b c"
    assert one_line("a\nbcd", 3) == "a b"
    assert one_line(MemoryError()) == ""


@pytest.mark.parametrize(
    ("most", "told", "apart"),
    [(1, "a and 2 more", "a; and 2 more"), (2, "a, b and 1 more", "a; b; and 1 more"), (3, "a, b, c", "a; b; c")],
)
def test_the_first_of_many(most: int, told: str, apart: str):
    assert some(["a", "b", "c"], most) == told
    assert some(["a", "b", "c"], most, "; ") == apart


def test_digests_stay_what_they_are_in_names_of_files_and_in_scores():
    assert digest_of("a", 1, [2, "é"], {"b": 1, "a": 2}) == "3639e10e6cb902c9cfd3250b30c03337"
    assert results.digest_of({"b": 1, "a": "ü"}) == "8847161a"
    assert digest_of_text("a/(None, 'redraw')/float32/cpu", 6) == "89544726141f"


def test_json_lines_of_a_file_and_of_none(tmp_path: Path):
    assert json_lines(tmp_path / "none.jsonl") == []
    (tmp_path / "some.jsonl").write_text('{"images": 1}\n[2]\n')
    assert json_lines(tmp_path / "some.jsonl") == [{"images": 1}, [2]]
