"""Classes by name or by index, as people write them."""

import csv
import operator
import re
from collections.abc import Iterable, Sequence

from orthogan.errors import UserError, unknown
from orthogan.settings import require

RULE = "give names, indices, or both"
SHOWN = 30
"""Names that an error lists at most."""

Classes = Sequence[int | str] | str | int
"""One class or several; an int is an index, a str a name."""


def indices(classes: Classes, names: Sequence[str], count: int) -> list[int]:
    """The indices of `classes`, an int being an index and a str a name, always. `count` is the number of classes.

    Raises `UserError` for indices out of range and for names that no class or several classes have.
    """
    plain: object = classes.tolist() if hasattr(classes, "tolist") else classes  # of an array or a tensor
    wanted = [plain] if isinstance(plain, str) or not isinstance(plain, Iterable) else list(plain)
    require(bool(wanted), "classes", classes, "name at least one class or leave it out")
    require(count > 0, "classes", classes, "this model was trained without classes; leave it out")
    return [by_name(c, names) if isinstance(c, str) else by_index(c, count) for c in wanted]


def by_index(index: object, count: int) -> int:
    try:
        number = operator.index(index)  # type: ignore[arg-type]
    except TypeError:
        raise UserError(f"classes={index!r}: neither an index nor a name; {RULE}") from None
    known = not isinstance(index, bool) and 0 <= number < count
    require(known, "classes", index, f"this model has classes 0 to {count - 1}")
    return number


def by_name(name: str, names: Sequence[str]) -> int:
    found = [i for i, n in enumerate(names) if n == name]
    if len(found) > 1:
        raise UserError(f"classes={name!r}: the classes {', '.join(map(str, found))} all have this name; give an index")
    if not found:
        raise missing(name, names)
    return found[0]


def missing(name: str, names: Sequence[str]) -> UserError:
    if not names:
        return UserError(f"classes={name!r}: the classes of this model have no names; give indices such as 3,7 or 0-4")
    error = str(unknown("class", name, names))
    if len(names) > SHOWN:
        error = error.partition("known: ")[0] + f"this model has {len(names)} classes, such as {', '.join(names[:3])}"
    return UserError(error)


def read(text: str, names: Sequence[str], count: int) -> list[int]:
    """The classes of a command line: `Flags,3,0-4`.

    A word that is the name of a class means that class, even `7`. Other numbers are indices, and `0-4` is a range of
    them; `#7` and `#0-4` are indices whatever the names are. A name that holds commas stands alone, or in double
    quotes: `"salt, pepper",Flags`. Raises `UserError` for everything else.
    """
    require(count > 0, "classes", text, "this model was trained without classes; leave it out")
    if text in names:
        return [by_name(text, names)]
    words = next(csv.reader([text], skipinitialspace=True), [])
    require(bool(words), "classes", text, "name at least one class or leave it out")
    return [index for word in words for index in read_word(word.strip(), names, count)]


def read_word(word: str, names: Sequence[str], count: int) -> list[int]:
    if word in names:
        return [by_name(word, names)]
    numbers = re.fullmatch(r"(#?)(\d+)(?:-#?(\d+))?", word, re.ASCII)
    if numbers is None:
        raise missing(word, names)
    marked, first, last = numbers[1], int(numbers[2]), int(numbers[3] or numbers[2])
    require(first <= last, "classes", word, "the range runs backwards")
    by_index(last, count)
    if not marked:
        refuse_two_meanings(word, names)
    return list(range(first, last + 1))


def refuse_two_meanings(word: str, names: Sequence[str]) -> None:
    """Where classes are named by numbers that are not their indices, a number that is no name is likely a mistake."""
    numbered = [name for i, name in enumerate(names) if name.isdecimal() and name != str(i)]
    if numbered:
        raise UserError(
            f"classes={word!r}: could mean indices or names, for a class is named {numbered[0]!r}; "
            f"write #{word} for indices, or every name by itself"
        )


def label(index: int, names: Sequence[str]) -> str:
    """The name of a class, or its index where it has none."""
    return names[index] if index < len(names) else str(index)
