"""The settled settings of a run, from its options, its method and recipe, and the run that is resumed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from robustvit.common.run_folder import MODULE, RunFolder
from robustvit.evaluation.deciding_metric import metric_for
from robustvit.guidance.method import GuidanceMethod
from robustvit.models.classifier import Classifier
from robustvit.training.schedule import Schedule
from robustvit.training.settings import complete_settings, settle_options

OF_THE_MODEL = ("num_classes", "head", "relevance_weight")  # if not given, known once the model is loaded


@dataclass(frozen=True)
class SettledRun:
    """The settings of a run.

    Attributes:
        chosen: settings that depend on the method or on a recipe.
        config: all settings as YAML can hold them.
        old: settings of the run that is resumed; empty for a new run.
    """

    folder: RunFolder
    guide: GuidanceMethod
    chosen: dict[str, Any]
    config: dict[str, Any]
    old: dict[str, Any]
    plan: Schedule

    @property
    def resumed(self) -> bool:
        """Whether the run is resumed."""
        return bool(self.old)

    def plan_for(self, classifier: Classifier) -> Schedule:
        """Return the plan with the metric that decides for a model."""
        return replace(self.plan, metric=metric_for(classifier.head_kind, self.plan.metric))

    def with_model(self, classifier: Classifier) -> dict[str, Any]:
        """Return the settings with those that depend on the model; refuse to resume with others."""
        weight = getattr(self.guide, "relevance_weight", None)
        by_classes = getattr(self.guide, "default_weight", None)  # of input gradients
        if weight is None and by_classes is not None:
            weight = by_classes(classifier.num_classes)
        found = (classifier.outputs, classifier.head_kind, weight)
        config = self.config | dict(zip(OF_THE_MODEL, found, strict=True))
        if self.resumed:
            written = {name: config[name] for name in OF_THE_MODEL if self.old[name] is None}
            self.folder.check_same(config, self.old | written)
        return config


def settle_run(options: Mapping[str, Any], folder: RunFolder) -> SettledRun:
    """Settle the options of a run; to resume it they must be those that it was started with."""
    started = folder.config() if options["resume"] else {}
    guide, chosen = settle_options(options, old=bool(started) and started.get("recipe") is None)
    given = {name: _plain(value) for name, value in options.items() if name != "resume"}
    config = chosen | given | chosen  # the method first: where it differs, so does what follows from it
    old = complete_settings(started) if started else {}
    if old:
        folder.check_same({name: value for name, value in config.items() if name not in OF_THE_MODEL}, old)
    if guide.title == "last-layer" and chosen["balance"] == "group":
        chosen["group_method"] = "sample"
    stepping = {one.name: (dict(options) | chosen)[one.name] for one in fields(Schedule)}
    plan = Schedule(**{name: value for name, value in stepping.items() if value is not None})
    plan.check_swaps(options["swaps"])
    return SettledRun(folder, guide, chosen, config, old, plan)


def _plain(value: object) -> object:
    """Convert a setting to a value that YAML can hold."""
    if isinstance(value, (str, int, float, list, type(None))):
        return value
    return str(value) if isinstance(value, Path) else f"{MODULE} ({type(value).__name__})"
