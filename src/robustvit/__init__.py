"""RobustViT: finetune the relevance map of a vision transformer onto the object.

The public functions are imported on first use, so that ``import robustvit`` and ``robustvit --help`` stay instant.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from robustvit.application import app
    from robustvit.auditing import audit
    from robustvit.class_analysis import classes
    from robustvit.classifier import Classifier
    from robustvit.demonstration import demo
    from robustvit.diagnosis import doctor
    from robustvit.errors import UserError
    from robustvit.evaluation import evaluate
    from robustvit.explanation import explain
    from robustvit.exporting import export
    from robustvit.families import Layout, register_family
    from robustvit.finetuning import finetune
    from robustvit.guidance import GuidedLoss, RobustViT, guided_loss
    from robustvit.losses import relevance_loss
    from robustvit.mask_making import make_masks
    from robustvit.method_comparison import faithfulness
    from robustvit.models import load_model
    from robustvit.pushing import push
    from robustvit.rate_search import search
    from robustvit.relevance_maps import relevance
    from robustvit.reports import report
    from robustvit.reproduction import reproduce
    from robustvit.shifting import shifts
    from robustvit.subset_panels import subset
    from robustvit.sufficient_subsets import sufficient_subset
    from robustvit.sweeping import sweep
    from robustvit.tables import table

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
    "Classifier": "classifier",
    "GuidedLoss": "guidance",
    "Layout": "families",
    "RobustViT": "guidance",
    "UserError": "errors",
    "app": "application",
    "audit": "auditing",
    "classes": "class_analysis",
    "demo": "demonstration",
    "doctor": "diagnosis",
    "evaluate": "evaluation",
    "explain": "explanation",
    "export": "exporting",
    "faithfulness": "method_comparison",
    "finetune": "finetuning",
    "guided_loss": "guidance",
    "load_model": "models",
    "make_masks": "mask_making",
    "push": "pushing",
    "register_family": "families",
    "relevance": "relevance_maps",
    "relevance_loss": "losses",
    "report": "reports",
    "reproduce": "reproduction",
    "shifts": "shifting",
    "table": "tables",
    "subset": "subset_panels",
    "sufficient_subset": "sufficient_subsets",
    "search": "rate_search",
    "sweep": "sweeping",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'robustvit' has no attribute {name!r}")
    return getattr(importlib.import_module(f"robustvit.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
