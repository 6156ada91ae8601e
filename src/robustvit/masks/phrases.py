"""The option ``--prompt``: the phrases to look for in each photo, and how class names are worded."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.options import Prompt
from robustvit.common.wording import list_names
from robustvit.data.matching import compose

BY_CLASS = "classes"
_WORDNET = re.compile(r"n\d{8}(?=$|[\W_])")
_NUMBER = re.compile(r"\d+[\W_]+(?=.*[^\W\d_])")  # before a name with letters
_HUMP = re.compile(r"(?<=[a-z]{2})(?=[A-Z])")  # AnnualCrop, but not iPhone or McDonald


@dataclass(frozen=True)
class Phrase:
    """Words to look for.

    Attributes:
        text: the words.
        weight: in a concept mask, above 0; None for an ordinary mask.
    """

    text: str
    weight: float | None = None

    def __str__(self) -> str:
        return self.text if self.weight is None else f"{self.text}:{self.weight:g}"


@dataclass(frozen=True)
class PromptParts:
    """The parts of ``--prompt``.

    Attributes:
        everywhere: phrases for every photo; empty if each class has its own.
        by_class: phrases of the classes that were named; the others are called by their own names.
        weighted: whether concept masks are wanted.
    """

    everywhere: tuple[Phrase, ...]
    by_class: Mapping[str, tuple[Phrase, ...]]
    weighted: bool


def read_prompt(prompt: Prompt) -> PromptParts:
    """Read ``--prompt``: ``classes``, or phrases for every photo, or ``CLASS=PHRASE``; each may end in ``:WEIGHT``.

    A text holds several, separated by commas. A class may be named several times.
    """
    entries = list(map(compose, list_names(prompt)))
    if not entries:
        raise UserError("expected --prompt classes, or words such as cat,dog or cat=tabby cat, got none")
    if any(entry.lower().endswith(".csv") for entry in entries):
        raise UserError(f"--prompt takes words, got {entries[0]}: a file of boxes or points is --prompts {entries[0]}")
    by_class: dict[str, list[Phrase]] = defaultdict(list)
    everywhere = []
    for entry in entries:
        name, mark, words = entry.rpartition("=")
        if mark:
            by_class[name.strip()].append(_read_phrase(words, entry))
        elif entry != BY_CLASS:
            everywhere.append(_read_phrase(entry, entry))
    if everywhere and (by_class or BY_CLASS in entries):
        raise UserError(
            f"--prompt {','.join(entries)} mixes phrases of classes with {everywhere[0].text!r} for every photo: "
            f"name its class (CLASS={everywhere[0]}), or give only phrases for every photo"
        )
    phrases = [*everywhere, *(one for some in by_class.values() for one in some)]
    weights = [one.weight is not None for one in phrases]
    if any(weights) and not all(weights):
        bare = next(one for one in phrases if one.weight is None)
        raise UserError(f"expected a weight for every phrase or for none, {bare.text!r} has none: {bare.text}:1")
    return PromptParts(tuple(everywhere), {name: tuple(some) for name, some in by_class.items()}, any(weights))


def _read_phrase(words: str, entry: str) -> Phrase:
    text, mark, weight = words.rpartition(":")
    if not mark:
        text = words
    try:
        number = float(weight) if mark else None
    except ValueError:
        number = 0.0
    if not re.search(r"\w", text) or (number is not None and not (isfinite(number) and number > 0)):
        raise UserError(
            f"expected PHRASE, PHRASE:WEIGHT or CLASS=PHRASE in --prompt, with a weight above 0 after the colon, "
            f"got {entry!r}"
        )
    return Phrase(text.strip(), number)


def word_class_names(names: Collection[str], among: Collection[str] | None = None) -> dict[str, str]:
    """Return the words of class names as folders have them: without underscores, ids and running numbers.

    ``n02123045`` is ``tabby`` (WordNet), ``n02123045-tabby_cat`` is ``tabby cat``, ``AnnualCrop`` is ``Annual Crop``.
    Running numbers (``001.Black_footed_Albatross``) are removed if every name begins with one. ``among`` are all names
    of the set, if it has more.
    """
    running = all(_NUMBER.match(name) for name in among or names)
    return {name: _word(name, running) for name in names}


def _word(name: str, running: bool) -> str:
    bare = compose(name)
    if (found := _WORDNET.match(bare)) is not None:
        bare = bare[found.end() :].lstrip("_-. ") or _first_synonym(found.group(), name)
    elif running:
        bare = _NUMBER.sub("", bare, count=1)
    words = " ".join(_HUMP.sub(" ", bare.replace("_", " ")).split())
    if not re.search(r"[^\W\d_]", words):
        raise UserError(f"the class {name!r} is not a word to look for: say what it shows, --prompt '{name}=WORDS'")
    return words


def _first_synonym(wordnet_id: str, name: str) -> str:
    from timm.data import ImageNetInfo

    try:
        return ImageNetInfo().label_name_to_description(wordnet_id).partition(",")[0]
    except KeyError:
        raise UserError(
            f"the class {name!r} is a WordNet id that is not known here: say what it shows, --prompt '{name}=WORDS'"
        ) from None


def choose_phrases(prompt: Prompt, classes: Mapping[Path, str | None]) -> dict[Path, tuple[Phrase, ...]]:
    """Return the phrases to look for in each photo; none for a photo without a class if the prompt names classes.

    ``classes`` are the photos with their classes, as named on disk.
    """
    wanted = read_prompt(prompt)
    if wanted.everywhere:
        return dict.fromkeys(classes, wanted.everywhere)
    names = {name: compose(name) for name in classes.values() if name is not None}
    if not names:
        raise UserError(
            "expected photos in class folders for a --prompt of classes, found none: give words for every photo, such "
            "as --prompt 'cat,dog'"
        )
    if unknown := [name for name in wanted.by_class if name not in names.values()]:
        known = sorted(set(names.values()))
        there = f"the classes are {', '.join(known[:10])}{' ...' if len(known) > 10 else ''}"
        hint = did_you_mean(unknown[0], known) or there
        raise UserError(f"--prompt names the class {unknown[0]!r}, which no photo has: {hint}")
    worded = word_class_names([name for name, one in names.items() if one not in wanted.by_class], among=names)
    found = {
        name: wanted.by_class.get(composed) or (Phrase(worded[name], 1.0 if wanted.weighted else None),)
        for name, composed in names.items()
    }
    return {path: found[name] if name is not None else () for path, name in classes.items()}
