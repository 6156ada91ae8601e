"""Groups of photos by class and kind of background, and whether a background is usual for its class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from robustvit.audits.background_kinds import BackgroundKinds
from robustvit.common.intervals import Interval, mean_interval, paired_difference
from robustvit.evaluation.worst_group import MIN_GROUP


@dataclass(frozen=True)
class Group:
    """Photos of one class on one kind of background.

    Attributes:
        class_name: the class.
        background: the kind, from 0.
        photos: indices of the photos.
        accuracy: ordinary accuracy on them.
        before: of the baseline, if there is one.
        difference: paired, accuracy minus the baseline's.
    """

    class_name: str
    background: int
    photos: list[int]
    accuracy: Interval
    before: Interval | None = None
    difference: Interval | None = None

    @property
    def fair(self) -> bool:
        """Whether the group is large enough to compare."""
        return len(self.photos) >= MIN_GROUP


def group_photos(
    backgrounds: BackgroundKinds,
    names: Sequence[str],
    right: Sequence[float],
    before: Sequence[float] | None = None,
) -> list[Group]:
    """Return the groups of class and background, lowest accuracy first; groups under ``MIN_GROUP`` photos come last.

    ``right`` is 1 for each photo that is predicted right, else 0; ``before`` is the same of a baseline.
    """
    members: dict[tuple[str, int], list[int]] = {}
    for index, (name, kind) in enumerate(zip(names, backgrounds.members, strict=True)):
        if kind is not None:
            members.setdefault((name, kind), []).append(index)
    groups = []
    for (name, kind), photos in sorted(members.items()):
        new = [right[i] for i in photos]
        group = Group(name, kind, photos, mean_interval(new))
        if before is not None:
            old = [before[i] for i in photos]
            group = replace(group, before=mean_interval(old), difference=paired_difference(old, new))
        groups.append(group)
    return sorted(groups, key=lambda group: (not group.fair, group.accuracy.mean, group.class_name, group.background))


def usual_photos(backgrounds: BackgroundKinds, names: Sequence[str]) -> list[bool | None]:
    """Return whether each photo has the most common background of its class, the first of equally common ones.

    None for photos without background.
    """
    counts: dict[str, Counter[int]] = {}
    for name, kind in zip(names, backgrounds.members, strict=True):
        if kind is not None:
            counts.setdefault(name, Counter())[kind] += 1
    usual = {name: min(found, key=lambda kind: (-found[kind], kind)) for name, found in counts.items()}
    return [
        None if kind is None else kind == usual[name] for name, kind in zip(names, backgrounds.members, strict=True)
    ]
