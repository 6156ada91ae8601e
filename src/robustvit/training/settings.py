"""The settings of a run: what the user gives, else what the recipe proposes, else the method's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError
from robustvit.common.options import Train
from robustvit.training.options import option_names

if TYPE_CHECKING:
    from robustvit.guidance.method import GuidanceMethod
    from robustvit.models.classifier import Classifier

OF_THE_MODEL = ("num_classes", "head", "relevance_weight")  # if not given, known once the model is loaded


def model_settings(guide: GuidanceMethod, classifier: Classifier) -> dict[str, Any]:
    """Return the settings that depend on the model, such as the default weight of input gradients."""
    weight = getattr(guide, "relevance_weight", None)
    by_classes = getattr(guide, "default_weight", None)
    return {
        "num_classes": classifier.outputs,
        "head": classifier.head_kind,
        "relevance_weight": by_classes(classifier.num_classes) if weight is None and by_classes else weight,
    }


def used_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings that a run used, even if an older version did not write those of a recipe or a default."""
    from robustvit.models.recipes import OWN_UNTIL_2026_11

    asked = dict.fromkeys(option_names()) | dict(config)
    if config.get("bit_depth") is not None:  # what range was called until 2026-11
        asked["range"] = str(config["bit_depth"])
    asked["metric"] = asked["metric"] or "accuracy"  # what older versions decided by
    former = asked["recipe"] == "own" and "lr_schedule" not in config
    if former:
        asked |= {name: value for name, value in OWN_UNTIL_2026_11.items() if asked[name] is None}
    used = asked | settle_options(asked, old=True)[1]
    return used | {"recipe": "own"} if former else used  # which is not what is recommended now


def describe_unused_settings(options: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """Describe in one line which settings of a recipe do not apply to a run with these options; empty if all apply.

    Options that the user set do not count.

    Args:
        options: as given.
        used: what ``settle_options`` made of them.
    """
    from robustvit.models.recipes import recipe_settings

    lost = [
        f"--{name.replace('_', '-')} {value}"
        for name, value in recipe_settings(used["recipe"]).items()
        if options[name] is None and used[name] != value and not (name == "lr" and used["train"] == "adapter")
    ]
    if not lost:
        return ""
    return (
        f"Of recipe {used['recipe']}, {', '.join(lost)} {'does' if len(lost) == 1 else 'do'} not fit --guidance "
        f"{used['guidance']} with --train {used['train']}, and {'is' if len(lost) == 1 else 'are'} left out."
    )


def chosen_recipe(options: Mapping[str, Any], old: bool = False) -> str | None:
    """Return the recipe of a run: the one that is named, else the default, which is for its own method, with labels and
    masks.

    Args:
        options: of finetune, by name.
        old: the run was started when there was no default.
    """
    from robustvit.models import recipes

    default = recipes.DEFAULT_RECIPE
    if options["recipe"] is not None or old or default is None:
        return recipes.recipe_name(options["recipe"])
    method = recipes.RECIPES[default]["guidance"]
    other = options["guidance"] not in (None, method) or options["target"] == "predicted"
    unmasked = options["shortcuts"] is not None and options["masks"] is None
    return None if other or unmasked else default


def settle_options(options: Mapping[str, Any], *, old: bool = False) -> tuple[GuidanceMethod, dict[str, Any]]:
    """Choose the guidance method and the settings that depend on it or on a recipe.

    Options that are given come first, then the recipe's, then the defaults.

    Args:
        options: of finetune, by name.
        old: see ``chosen_recipe``.

    Returns:
        The method; and its options with everything else that a recipe may set, None where the method does not use it.
    """
    from robustvit.guidance.method import GuidanceMethod
    from robustvit.guidance.registry import chosen_options, guidance_options, make_guidance
    from robustvit.models.recipes import fitting_settings, model_card

    recipe = chosen_recipe(options, old)
    proposed = fitting_settings(recipe, options["guidance"])
    guidance = options["guidance"] or proposed.get("guidance", "robustvit")
    guide = make_guidance(guidance, **chosen_options(guidance, options, proposed))
    assert isinstance(guide, GuidanceMethod)  # options name a registered method
    train = _trained_weights(guide, guidance, options["train"], proposed.get("train"))
    _check_group_options(options, guide)
    if options["model"] is None:
        if options["recipe"] is None:
            raise UserError("expected a model to finetune: give --model NAME or --recipe CARD")
        model_card(options["recipe"])  # it must be a model card

    proposed["lr"] = _rate(train, proposed)
    if train == "adapter":  # weights between two adapters are not between two models
        proposed["weight_interpolation"] = 1.0

    def choose(name: str, default: object) -> object:
        if options[name] is None:
            return None if name in guide.unused else proposed.get(name, default)
        if name in guide.unused:
            option = name.replace("_", "-")
            raise UserError(f"expected no --{option} with --guidance {guidance}, which takes no steps: leave it out")
        return options[name]

    return guide, {
        "recipe": recipe,
        "guidance": guidance,
        "train": train,
        "lr": choose("lr", None),
        "epochs": choose("epochs", 50),
        "samples_per_class": choose("samples_per_class", 3),
        "select": choose("select", "loss"),
        "lr_schedule": choose("lr_schedule", "step"),
        "weight_interpolation": choose("weight_interpolation", 1.0),
        "normalization": choose("normalization", "model"),
        **{name: getattr(guide, name, None) for name in guidance_options()},
    }


def _check_group_options(options: Mapping[str, Any], guide: GuidanceMethod) -> None:
    """Refuse options on groups that would have no effect."""
    method = options.get("group_method")
    for name, needed in (("group_step", "dro"), ("jtt_epochs", "jtt"), ("jtt_times", "jtt")):
        if options.get(name) is not None and method != needed:
            option = name.replace("_", "-")
            got = "none" if method is None else method
            raise UserError(
                f"expected --{option} with --group-method {needed} only, got {got}: leave it out, or give it"
            )
    if method is not None and guide.title == "dfr":
        raise UserError("expected no --group-method with --guidance dfr, which takes no steps: give --balance group")
    if method is not None and guide.title == "last-layer" and getattr(guide, "balance", None) == "group":
        raise UserError("expected no --group-method with --balance group, which draws groups equally often")
    if method in ("reweight", "dro") and getattr(guide, "classification", "label") != "label":
        raise UserError(
            f"expected --classification label with --group-method {method}: the loss of --guidance {guide.title} is "
            "the model's own confidence, which has no worst group"
        )


def _rate(train: Train, proposed: Mapping[str, Any]) -> float:
    """Return the learning rate if none is given: the recipe's, if it trains the same weights, or the default.

    An adapter needs about ten times the rate of all weights (Schulman et al., LoRA Without Regret, 2025); at that rate
    itself it hardly moves (benchmarks/results/adapter_rates-2026-11-30.md).
    """
    if train == "adapter":
        return round(10 * _rate("all", proposed), 12)
    rated = proposed.get("train", "all" if train == "head" else train)  # the weights that the recipe's rate is for
    default = 1e-3 if train == "head" else 2e-6
    return float(proposed.get("lr", default)) if train == rated else default


def _trained_weights(guide: GuidanceMethod, guidance: str, train: Train | None, proposed: Train | None) -> Train:
    """Return the weights that may change: those the method requires, those given, the recipe's, or all."""
    if guide.trains is not None and train not in (None, guide.trains):
        raise UserError(
            f"expected --train {guide.trains} with --guidance {guidance}, which trains nothing else, got {train}: "
            "leave --train out"
        )
    return guide.trains or train or proposed or "all"
