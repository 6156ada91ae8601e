"""The settings of a run: the user's, else the recipe's, else the method's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from robustvit.common.errors import UserError, option_name
from robustvit.common.options import Train
from robustvit.training.options import option_names

if TYPE_CHECKING:
    from robustvit.guidance.method import GuidanceMethod

_DEFAULTS = {
    "epochs": 50,
    "samples_per_class": 3,
    "select": "loss",
    "lr_schedule": "step",
    "weight_interpolation": 1.0,
    "normalization": "model",
}


def complete_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all settings that a run used; older versions did not write settings of recipes and defaults."""
    from robustvit.models.recipes import OWN_UNTIL_2026_11

    asked = dict.fromkeys(option_names()) | dict(config)
    if config.get("bit_depth") is not None:  # the name of range until 2026-11
        asked["range"] = str(config["bit_depth"])
    asked["metric"] = asked["metric"] or "accuracy"  # older versions had no other metric
    former = asked["recipe"] == "own" and "lr_schedule" not in config
    if former:
        asked |= {name: value for name, value in OWN_UNTIL_2026_11.items() if asked[name] is None}
    used = asked | settle_options(asked, old=True)[1]
    return used | {"recipe": "own"} if former else used  # not the recipe that is recommended now


def describe_unused_settings(options: Mapping[str, Any], used: Mapping[str, Any]) -> str:
    """Describe in one line which settings of a recipe do not apply to a run; empty if all apply.

    Options that the user gave do not count; ``used`` are the settings of ``settle_options``.
    """
    from robustvit.models.recipes import recipe_settings

    lost = [
        f"{option_name(name)} {value}"
        for name, value in recipe_settings(used["recipe"]).items()
        if options[name] is None and used[name] != value and not (name == "lr" and used["train"] == "adapter")
    ]
    if not lost:
        return ""
    return (
        f"Of recipe {used['recipe']}, {', '.join(lost)} {'does' if len(lost) == 1 else 'do'} not fit --guidance "
        f"{used['guidance']} with --train {used['train']}, and {'is' if len(lost) == 1 else 'are'} left out."
    )


def choose_recipe(options: Mapping[str, Any], old: bool = False) -> str | None:
    """Return the recipe of a run: as named, else the default, if the options fit its method, with labels and masks.

    ``old``: the run was started when there was no default.
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

    Options that are given come first, then the recipe's, then the defaults. Returns the method, and its options with
    everything else that a recipe may set, None if the method does not use it.
    """
    from robustvit.guidance.method import GuidanceMethod
    from robustvit.guidance.registry import choose_options, guidance_options, make_guidance
    from robustvit.models.recipes import settings_for_method

    recipe = choose_recipe(options, old)
    proposed = settings_for_method(recipe, options["guidance"])
    guidance = options["guidance"] or proposed.get("guidance", "robustvit")
    guide = make_guidance(guidance, **choose_options(guidance, options, proposed))
    assert isinstance(guide, GuidanceMethod)  # options name a registered method
    train = _trained_weights(guide, guidance, options["train"], proposed.get("train"))
    _check_group_options(options, guide)
    _check_model_named(options)
    proposed = _DEFAULTS | proposed | {"lr": _rate(train, proposed)}
    if train == "adapter":  # weights between two adapters are not between two models
        proposed["weight_interpolation"] = 1.0
    return guide, {
        "recipe": recipe,
        "guidance": guidance,
        "train": train,
        **{name: _choose(name, options, proposed, guide) for name in ("lr", *_DEFAULTS)},
        **{name: getattr(guide, name, None) for name in guidance_options()},
    }


def _choose(name: str, options: Mapping[str, Any], proposed: Mapping[str, Any], guide: GuidanceMethod) -> object:
    """Return a setting: as given, else as proposed; None if the method does not use it."""
    if options[name] is None:
        return None if name in guide.unused else proposed[name]
    if name in guide.unused:
        raise UserError(
            f"expected no {option_name(name)} with --guidance {guide.title}, which takes no steps: leave it out"
        )
    return options[name]


def _check_model_named(options: Mapping[str, Any]) -> None:
    """Refuse options that name neither a model nor a recipe with a model."""
    from robustvit.models.recipes import model_card

    if options["model"] is None:
        if options["recipe"] is None:
            raise UserError("expected a model to finetune: give --model NAME or --recipe CARD")
        model_card(options["recipe"])


def _check_group_options(options: Mapping[str, Any], guide: GuidanceMethod) -> None:
    """Refuse options on groups that would have no effect."""
    method = options.get("group_method")
    for name, needed in (("group_step", "dro"), ("jtt_epochs", "jtt"), ("jtt_times", "jtt")):
        if options.get(name) is not None and method != needed:
            raise UserError(
                f"expected {option_name(name)} with --group-method {needed} only, got {method or 'none'}: leave it "
                f"out, or give --group-method {needed}"
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

    An adapter needs about ten times the rate of all weights (Schulman et al., LoRA Without Regret, 2025); at the rate
    of all weights it hardly moves (benchmarks/results/adapter_rates-2026-11-30.md).
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
