"""Moments for tests of single rules."""

import dataclasses
from typing import Any

from orthogan.game.moment import Moment


def moment_of(**given: Any) -> Moment:
    """With None for whatever the rule does not read."""
    required = {f.name: None for f in dataclasses.fields(Moment) if f.default is dataclasses.MISSING}
    return Moment(**(required | given))
