"""Classes by name and by index."""

import pytest

from orthogan.classes import indices, label, read
from orthogan.errors import UserError

PLAIN = ["Animals", "Flags", "salt, pepper", "Food"]
NUMBERS = ["1", "10", "2", "3"]
"""Folders named by numbers come in the order of their letters."""


@pytest.mark.parametrize(
    ("text", "names", "expected"),
    [
        ("Flags", PLAIN, [1]),
        ("Flags,3", PLAIN, [1, 3]),
        ("Flags, Food ,0-2", PLAIN, [1, 3, 0, 1, 2]),
        ("salt, pepper", PLAIN, [2]),
        ('"salt, pepper",Flags', PLAIN, [2, 1]),
        ("3,0-1", [], [3, 0, 1]),
        ("3", ["0", "1", "2", "3"], [3]),
        ("0-3", ["0", "1", "2", "3"], [0, 1, 2, 3]),
        ("10,3", NUMBERS, [1, 3]),
        ("2", NUMBERS, [2]),
        ("1", NUMBERS, [0]),
        ("#1", NUMBERS, [1]),
        ("#0-2", NUMBERS, [0, 1, 2]),
        ("#0-#2", NUMBERS, [0, 1, 2]),
        ("2-4", ["1-2", "2-4", "a", "b", "c"], [1]),
    ],
)
def test_what_people_write(text: str, names: list[str], expected: list[int]) -> None:
    assert read(text, names, len(names) or 4) == expected


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        ("Flag", PLAIN, "did you mean 'Flags'"),
        ("99", PLAIN, "classes 0 to 3"),
        ("0-99999999999", PLAIN, "classes 0 to 3"),
        ("3-1", PLAIN, "runs backwards"),
        ("", PLAIN, "name at least one"),
        ("Flags,", PLAIN, "unknown class ''"),
        ("0", NUMBERS, "write #0 for indices"),
        ("0-2", NUMBERS, "write #0-2 for indices"),
        ("a", ["a", "a", "b"], "0, 1 all have this name"),
        ("a", [], "have no names"),
    ],
)
def test_what_has_no_meaning_or_two(text: str, names: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        read(text, names, len(names) or 4)


def test_a_model_without_classes_takes_none() -> None:
    for ask in (lambda: read("3", [], 0), lambda: indices([3], [], 0)):
        with pytest.raises(UserError, match="without classes"):
            ask()


def test_a_thousand_names_are_not_all_told() -> None:
    with pytest.raises(UserError, match="1000 classes, such as") as told:
        read("nothing", [f"class {i}" for i in range(1000)], 1000)
    assert len(str(told.value)) < 200


def test_in_python_an_int_is_an_index_and_a_str_a_name() -> None:
    assert indices(["10", 0], NUMBERS, 4) == [1, 0]
    assert indices("3", NUMBERS, 4) == [3]
    assert indices(3, NUMBERS, 4) == [3]
    for bad in ([True], [0.5], [-1], [4], [], ["4"], [None]):
        with pytest.raises(UserError):
            indices(bad, NUMBERS, 4)  # type: ignore[arg-type]


def test_a_class_without_a_name_is_told_by_its_index() -> None:
    assert (label(1, PLAIN), label(1, [])) == ("Flags", "1")
