"""Class names as users give them: a list, a text, a file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import is_file
from robustvit.common.options import ClassNames
from robustvit.models.classifier import Classifier


def read_names(given: ClassNames | Path) -> tuple[str, ...]:
    """Read names from a list, a text separated by commas, or a text file."""
    if isinstance(given, str) and "," in given and not is_file(given):
        given = given.split(",")
    if isinstance(given, (str, Path)):
        path = Path(given)
        if not is_file(path):
            raise UserError(
                f"expected class names as cat,dog or a text file with one per line, found no file at {str(path)[:200]}"
            )
        try:
            given = path.read_text(encoding="utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"expected class names as UTF-8 text in {path}, but cannot read it: {error}") from error
    names = tuple(name.strip() for name in given if name.strip())
    if len(set(names)) < 2 or len(set(names)) != len(names):
        raise UserError(f"expected at least two different class names, each once, got {len(names)} ({names[:3]} ...)")
    return names


def set_names(classifier: Classifier, names: Sequence[str] | None) -> Classifier:
    """Set the class names of a classifier that has none."""
    if names is None or tuple(names) == classifier.class_names:
        return classifier
    if classifier.class_names:
        raise UserError(
            f"{classifier.source} already has class names ({', '.join(classifier.class_names[:3])} ...): leave "
            "--class-names out, or name a model that chooses among any names (open_clip:ARCHITECTURE/TAG)"
        )
    if len(names) != classifier.num_classes:
        raise UserError(f"expected {classifier.num_classes} class names, one per class of the model, got {len(names)}")
    classifier.class_names = tuple(names)
    return classifier
