"""RobustViT: finetune the relevance map of a vision transformer onto the object.

The public functions are imported on first use, so that ``import robustvit`` and ``robustvit --help`` stay instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustvit.audits.audit import audit
    from robustvit.cli.demo import demo
    from robustvit.cli.doctor import doctor
    from robustvit.common.errors import UserError
    from robustvit.data.shifts.shifts import shifts
    from robustvit.evaluation.classes.classes import classes
    from robustvit.evaluation.evaluate import evaluate
    from robustvit.evaluation.records.table import table
    from robustvit.experiments.reproduce import reproduce
    from robustvit.experiments.search import search
    from robustvit.experiments.sweep import sweep
    from robustvit.explanation.explain import explain
    from robustvit.explanation.faithfulness import faithfulness
    from robustvit.explanation.maps import relevance
    from robustvit.explanation.subsets.search import sufficient_subset
    from robustvit.explanation.subsets.subset import subset
    from robustvit.guidance.losses import relevance_loss
    from robustvit.guidance.method import GuidedLoss
    from robustvit.guidance.registry import guided_loss
    from robustvit.guidance.robustvit import RobustViT
    from robustvit.masks.make import make_masks
    from robustvit.models.classifier import Classifier
    from robustvit.models.families import Layout, register_family
    from robustvit.models.load import load_model
    from robustvit.sharing.export import export
    from robustvit.sharing.push import push
    from robustvit.sharing.report import report
    from robustvit.training.finetune import finetune
    from robustvit.webapp.app import app

__version__ = "0.1.0"

__all__ = [
    "Classifier",
    "GuidedLoss",
    "Layout",
    "RobustViT",
    "UserError",
    "app",
    "audit",
    "classes",
    "demo",
    "doctor",
    "evaluate",
    "explain",
    "export",
    "faithfulness",
    "finetune",
    "guided_loss",
    "load_model",
    "make_masks",
    "push",
    "register_family",
    "relevance",
    "relevance_loss",
    "report",
    "reproduce",
    "search",
    "shifts",
    "subset",
    "sufficient_subset",
    "sweep",
    "table",
]

_HOME = {
    "Classifier": "models.classifier",
    "GuidedLoss": "guidance.method",
    "Layout": "models.families",
    "RobustViT": "guidance.robustvit",
    "UserError": "common.errors",
    "app": "webapp.app",
    "audit": "audits.audit",
    "classes": "evaluation.classes.classes",
    "demo": "cli.demo",
    "doctor": "cli.doctor",
    "evaluate": "evaluation.evaluate",
    "explain": "explanation.explain",
    "export": "sharing.export",
    "faithfulness": "explanation.faithfulness",
    "finetune": "training.finetune",
    "guided_loss": "guidance.registry",
    "load_model": "models.load",
    "make_masks": "masks.make",
    "push": "sharing.push",
    "register_family": "models.families",
    "relevance": "explanation.maps",
    "relevance_loss": "guidance.losses",
    "report": "sharing.report",
    "reproduce": "experiments.reproduce",
    "shifts": "data.shifts.shifts",
    "table": "evaluation.records.table",
    "subset": "explanation.subsets.subset",
    "sufficient_subset": "explanation.subsets.search",
    "search": "experiments.search",
    "sweep": "experiments.sweep",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'robustvit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"robustvit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
