"""What the outputs of a model mean: as the model's settings say, or as the user says."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from robustvit.common.errors import UserError
from robustvit.common.options import HeadKind
from robustvit.common.progress import warn
from robustvit.models.classifier import Classifier
from robustvit.models.libraries import library_of
from robustvit.models.outputs import warn_of_kind

ONE_CLASS: tuple[HeadKind, ...] = ("softmax", "binary")  # every photo has exactly one class
CLASSIFIERS: tuple[HeadKind, ...] = (*ONE_CLASS, "multi-label")
_WORDS: dict[HeadKind, str] = {
    "softmax": "one class a photo",
    "binary": "one logit, for a class and its absence",
    "multi-label": "several labels a photo",
    "regression": "regression, which has no classes",
    "ordinal": "ordered levels, which are not classes here",
}


def settle_head(
    classifier: Classifier, asked: HeadKind | None = None, names: Sequence[str] | None = None
) -> Classifier:
    """Set what the outputs of a classifier mean: ``asked``, else as the model says, else one class a photo.

    Class names that were given for a single output say that it is a class and its absence.
    """
    outputs, recorded = classifier.outputs, classifier.recorded_head
    said = tell_head(classifier)
    if said is None and outputs == 1 and names is not None:
        said = "binary"
    kind = asked or recorded or said or ("softmax" if outputs > 1 else None)
    if kind is None:
        raise UserError(
            f"{classifier} returns one number per photo, and nothing says what it is: give --head binary (a class and "
            "its absence, from a sigmoid) or --head regression"
        )
    _check_outputs(classifier, kind, outputs)
    classifier.head_kind = classifier.recorded_head = kind
    if kind == "binary" and len(classifier.class_names) == 1:
        classifier.class_names = (f"not {classifier.class_names[0]}", classifier.class_names[0])
    if line := warn_of_kind(classifier.kind, str(classifier), kind):
        warn(line)
    if asked is None and recorded is None and kind != "softmax":
        warn(f"{classifier}: {_WORDS[kind]} (--head {kind}, as the model says)")
    return classifier


def tell_head(classifier: Classifier) -> HeadKind | None:
    """Return what the outputs mean by the settings of the network, or a sigmoid at its end; None if neither says."""
    if classifier.kind == "sigmoids":
        return "binary" if classifier.outputs == 1 else "multi-label"
    return library_of(classifier.network).head_kind(classifier.network)


def _check_outputs(classifier: Classifier, kind: HeadKind, outputs: int) -> None:
    """Refuse a kind of head that does not fit the outputs."""
    if kind == "binary" and outputs != 1:
        raise UserError(f"expected one output for --head binary, {classifier} has {outputs}: give --head softmax")
    if kind in ("softmax", "multi-label") and outputs == 1:
        raise UserError(
            f"expected outputs for two classes or more with --head {kind}, {classifier} has 1: give --head binary"
        )
    if kind not in ("softmax", "regression") and classifier.kind in ("probabilities", "log-probabilities"):
        raise UserError(f"{classifier} ends in a softmax, so it has one class a photo: leave --head {kind} out")


def expect_head(classifier: Classifier, allowed: Collection[HeadKind]) -> Classifier:
    """Return a classifier; refuse a kind of head that a command does not support."""
    kind = classifier.head_kind
    if kind in allowed:
        return classifier
    *most, last = allowed
    listed = f"{', '.join(most)} or {last}" if most else last
    others = ", finetune, evaluate, audit and classes" if kind in CLASSIFIERS else ""
    raise UserError(
        f"expected a model with a head of kind {listed} here, {classifier} has {_WORDS[kind]} "
        f"(--head {kind}): explain{others} can use it"
    )
