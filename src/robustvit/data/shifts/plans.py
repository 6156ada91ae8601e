"""Plans of shifted copies: which object goes on which background, and which images cannot be made."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from operator import itemgetter
from pathlib import Path
from typing import cast

from robustvit.common.errors import UserError
from robustvit.common.options import Intervention
from robustvit.common.progress import bar
from robustvit.common.wording import pluralize
from robustvit.data.photo import Photo
from robustvit.data.shifts.cutouts import MIN_INSIDE, SIZES, grid, share_inside
from robustvit.data.shifts.images import Spread
from robustvit.data.shifts.kinds import BACKGROUND_KINDS, PHOTO_SIZE, Shift, ShiftOptions, ShiftPlan, Skip
from robustvit.data.shifts.survey import PhotoSurvey, shorter_side, survey
from robustvit.data.swap_pairs import pair_backgrounds
from robustvit.data.swaps import SWAPS, Swap

_LEAST_PAIRS = 20
_COLUMNS: dict[Intervention, int] = {"si-size": 100, "si-rotation": 18, "si-location": 21}
_NO_OBJECT = "no pixel of the mask is above one half"
_EMPTY = "the photo shows no object"
_OWN = (
    "Backgrounds of the si kinds are other classes' photos with the object's box tiled over (as only-bg-t); "
    "--backgrounds takes plain ones."
)


def plan_shifts(photos: Sequence[Photo], plain: Sequence[Path], options: ShiftOptions, spread: Spread) -> ShiftPlan:
    """Read every photo and every plain background that is drawn, and make a plan; ``spread`` is of ``spread_work``."""
    look = partial(survey, size=options.size or PHOTO_SIZE, mask_format=options.mask_format)
    with bar() as progress:
        looks = progress.track(spread(look, photos), total=len(photos), description="looking at photos and masks")
        found = [seen for _, seen in sorted(looks, key=itemgetter(0))]
    plan = plan_variants(photos, found, options) if options.variants else ShiftPlan()
    if options.moved:
        plan += plan_grids(photos, found, options, plain)
    sides: dict[object, int] = dict(zip(photos, (one.side for one in found), strict=True))
    drawn = sorted({shift.background for shift in plan.shifts if isinstance(shift.background, Path)})
    sides |= {drawn[number]: side for number, side in spread(shorter_side, drawn)}
    used = {(shift.background, shift.size) for shift in plan.shifts if shift.placement is not None}
    small = {background for background, size in used if sides[background] < size}
    if small:
        share = f"{len(small)} of {pluralize(len({background for background, _ in used}), 'background')}"
        plan.notes.append(f"Enlarged, for they are smaller than the images: {share}.")
    return plan


def plan_variants(photos: Sequence[Photo], found: Sequence[PhotoSurvey], options: ShiftOptions) -> ShiftPlan:
    """Plan ImageNet-9's variants: one image of every photo and kind.

    An object is used if the crop keeps over half of its box, a background if the box covers at most 90 % of the frame.
    A photo without an object is its own original, and lends the whole frame.
    """
    plan, size = ShiftPlan(), options.size or PHOTO_SIZE
    able = [i for i, one in enumerate(found) if (one.in_crop and one.kept > 0.5) or one.empty]
    classes = {name: number for number, name in enumerate(sorted({str(photos[i].class_name) for i in able}))}
    labels = [classes[str(photos[i].class_name)] for i in able]
    usable = [found[i].lends_crop for i in able]
    borrowers = [at for at, i in enumerate(able) if not found[i].empty]
    for kind in options.variants:
        donors: dict[int, Photo] = {}
        if kind in SWAPS:
            _check_classes(photos, kind)
            chosen = pair_backgrounds(labels, usable, cast(Swap, kind), seed=options.seed, borrowers=borrowers)
            donors = {able[i]: photos[able[one[0]]] for i, one in enumerate(chosen) if one}
        for number, (photo, one) in enumerate(zip(photos, found, strict=True)):
            name = f"{kind}-{number:06d}"
            if reason := _explain_lack(one, kind, number in donors):
                plan.skips.append(Skip(name, kind, photo, reason))
            else:
                plan.shifts.append(Shift(name, kind, photo, size, one.kept, donors.get(number), job=f"photo {number}"))
    return plan


def _check_classes(photos: Sequence[Photo], kind: str) -> None:
    classes = sorted({str(photo.class_name) for photo in photos})
    if kind != "mixed-same" and len(classes) == 1:
        raise UserError(
            f"expected photos of at least two classes for {kind}, whose backgrounds come from other classes, found "
            f"only {classes[0]}: leave {kind} out of --kinds"
        )


def _explain_lack(found: PhotoSurvey, kind: str, has_donor: bool) -> str:
    """Return why a variant of a photo cannot be made; empty if it can."""
    if found.empty:
        return "" if kind == "original" else _EMPTY
    if found.box == (0, 0):
        return _NO_OBJECT
    if found.kept <= 0.5 or not found.in_crop:
        return "half or more of the object's box is lost to the crop"
    if kind in BACKGROUND_KINDS and not found.lends_crop:
        return "the object's box covers over 90 % of the frame, so no background is left"
    if kind in SWAPS and not has_donor:
        return "no other photo of the class drawn has a background to lend"
    return ""


def plan_grids(
    photos: Sequence[Photo], found: Sequence[PhotoSurvey], options: ShiftOptions, backgrounds: Sequence[Path] = ()
) -> ShiftPlan:
    """Plan SI-Score's sets: pairs of an object and a background, drawn once, at every point of a grid.

    Without files of plain backgrounds, those of photos of other classes are taken.
    """
    plan = ShiftPlan()
    able = [i for i, one in enumerate(found) if one.box != (0, 0)]
    lending = [photo for photo, one in zip(photos, found, strict=True) if one.lends]
    pairs = _draw_fitting([photos[i] for i in able], backgrounds or lending, options)
    if not backgrounds:
        plan.notes.append(_OWN)
    for name in options.moved:
        kind = cast(Intervention, name)
        plan.skips += [
            Skip("", kind, photo, _EMPTY if one.empty else _NO_OBJECT)
            for photo, one in zip(photos, found, strict=True)
            if one.box == (0, 0)
        ]
        for number, (member, background) in enumerate(pairs):
            _plan_pair(plan, kind, number, photos[able[member]], found[able[member]].box, background, options)
    return plan


def _plan_pair(
    plan: ShiftPlan,
    kind: Intervention,
    number: int,
    photo: Photo,
    box: tuple[int, int],
    background: Photo | Path,
    options: ShiftOptions,
) -> None:
    size = options.size or SIZES[kind]
    least = MIN_INSIDE[kind] if options.min_inside is None else options.min_inside
    points = grid(kind)
    for step in _thin_grid(kind, len(points), options.every):
        name = f"{kind}-{number * len(points) + step:06d}"
        inside = share_inside(box, (size, size), points[step])
        if inside < least:
            plan.skips.append(Skip(name, kind, photo, f"less than {100 * least:g} % of the object's box lies inside"))
            continue
        plan.shifts.append(Shift(name, kind, photo, size, inside, background, points[step], f"pair {number}"))


def _thin_grid(kind: Intervention, points: int, every: int) -> list[int]:
    """Return indices of grid points at every n-th area, angle, or row and column; a rotation keeps all areas."""
    places = [divmod(point, _COLUMNS[kind]) for point in range(points)]
    rows = every if kind == "si-location" else 1
    return [point for point, (row, column) in enumerate(places) if not row % rows and not column % every]


def _draw_fitting(
    objects: Sequence[Photo], backgrounds: Sequence[Photo] | Sequence[Path], options: ShiftOptions
) -> list[tuple[int, Photo | Path]]:
    classes = {photo.class_name for photo in objects}
    wanted = max(_LEAST_PAIRS, len(classes)) if options.pairs is None else options.pairs

    def fits(member: int, background: int) -> bool:
        other, mine = backgrounds[background], objects[member]
        return not isinstance(other, Photo) or (other.class_name != mine.class_name and other.image != mine.image)

    drawn = draw_pairs([str(photo.class_name) for photo in objects], len(backgrounds), wanted, options.seed, fits)
    if not drawn:
        raise UserError(
            f"no background for {', '.join(options.moved)}: give plain ones with --backgrounds, or photos of two "
            "classes whose objects leave some background free"
        )
    if options.pairs is not None and len(drawn) < options.pairs:
        raise UserError(
            f"expected --pairs of at most {len(drawn)}, as many different pairs of an object and a background as there "
            f"are, got {options.pairs}"
        )
    return [(member, backgrounds[background]) for member, background in drawn]


def draw_pairs(
    labels: Sequence[str], backgrounds: int, count: int, seed: int, fits: Callable[[int, int], bool]
) -> list[tuple[int, int]]:
    """Draw ``count`` (object, background) pairs, spread evenly over the classes and, within them, over the objects.

    No pair is drawn twice, and fewer are returned if no more fit; ``labels`` are the classes of the objects.
    """
    rng = random.Random(seed)
    turns: list[deque[int]] = []
    for name in sorted(set(labels)):
        order = [i for i, label in enumerate(labels) if label == name]
        rng.shuffle(order)
        turns.append(deque(order))
    taken: dict[int, set[int]] = {member: set() for member in range(len(labels))}
    pairs: list[tuple[int, int]] = []
    while len(pairs) < count and any(turns):
        for members in turns:
            while members and len(pairs) < count:
                member = members.popleft()
                free = [i for i in range(backgrounds) if i not in taken[member] and fits(member, i)]
                if not free:
                    continue  # it has had them all
                chosen = rng.choice(free)
                taken[member].add(chosen)
                pairs.append((member, chosen))
                members.append(member)
                break
    return pairs
