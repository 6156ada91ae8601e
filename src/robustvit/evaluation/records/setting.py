"""The setting of a record's run: that of the paper's tables, or one that a figure varies."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from robustvit.common.wording import pluralize

# How reproduce names its runs; in records of earlier versions only the name tells the setting.
_NAME = re.compile(r"-seed(?P<seed>\d+)-(?P<classes>\d+)x(?P<samples>\d+)(?:[/\\](?:best|last))?[/\\]?$")
_USUAL = ((500, 3), (5, 3))  # classes and photos of each at paper and at tiny scale


@dataclass(frozen=True)
class RunSetting:
    """The training data of a reproduction's run.

    Attributes:
        seed: of the choice of classes.
        classes: number of classes.
        samples: photos of each class.
        usual: whether the paper's tables have this number of classes and photos.
    """

    seed: int
    classes: int
    samples: int
    usual: bool

    def __str__(self) -> str:
        return f"{pluralize(self.samples, 'photo')} of each of {pluralize(self.classes, 'class', 'classes')}"


def setting_of(model: Mapping[str, Any]) -> RunSetting | None:
    """Return the setting of a record's ``model``; None for models that ``reproduce`` did not train."""
    if isinstance(said := model.get("setting"), Mapping):
        return RunSetting(**said)
    found = _NAME.search(str(model.get("source", "")))
    if found is None:
        return None
    seed, classes, samples = (int(found[name]) for name in ("seed", "classes", "samples"))
    return RunSetting(seed, classes, samples, (classes, samples) in _USUAL)
