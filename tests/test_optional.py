"""Packages of extras: missed with the line that installs them."""

import sys

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
