"""What the study compares, as options of finetune: the paper's guidance, rival methods, and ablations.

Rates on the embedded benchmark were chosen by ``study.py rates``: the one with the highest accuracy on random
backgrounds that costs at most 2 points of ordinary accuracy. It was the same for all methods that train all weights.
"""

from __future__ import annotations

from typing import Any

_ATTENTION: dict[str, Any] = {"train": "attention"}

METHODS: dict[str, dict[str, Any]] = {
    "attention": _ATTENTION,  # relevance guidance of queries and keys alone
    "paper": {},  # relevance guidance of all weights
    "cft": {"recipe": "cft"},
    "cross-entropy": {"guidance": "cross-entropy"},
    "gradmask": {"guidance": "gradmask"},
    "rrr": {"guidance": "rrr"},
    "swap-augmentation": {"guidance": "swap-augmentation"},
    "dfr": {"guidance": "last-layer"},  # the name of its records
}
LATER: dict[str, dict[str, Any]] = {  # see benchmarks/recipes
    "swap-relevance": {"guidance": "swap-relevance"},
    "energy": {"guidance": "energy"},
}
ABLATIONS: dict[str, dict[str, Any]] = {
    "no guidance": {**_ATTENTION, "relevance_weight": 0.0},
    "without background (1)": {**_ATTENTION, "background": 0.0},
    "without foreground (2)": {**_ATTENTION, "foreground": 0.0},
    "without confidence (4)": {**_ATTENTION, "classification_weight": 0.0},
    "true label in (4)": {**_ATTENTION, "classification": "label"},
    "second order": {**_ATTENTION, "second_order": True},
    "attnlrp": {**_ATTENTION, "relevance": "attnlrp"},
    "rollout": {**_ATTENTION, "relevance": "rollout"},
    "grad_cam": {**_ATTENTION, "relevance": "grad_cam"},
}
# On photos no rate was searched before: other rates for those that METHODS trains at one of the embedded benchmark's
RATES: dict[str, dict[str, Any]] = {
    f"{arm} at {rate:g}": {**METHODS[arm], "lr": rate}
    for arm, rates in {"attention": (3e-5, 3e-4), "paper": (1e-6, 3e-6), "swap-augmentation": (3e-6, 3e-5)}.items()
    for rate in rates
}  # fmt: skip
ARMS = METHODS | ABLATIONS | RATES
GROUPS = {"methods": METHODS, "ablations": ABLATIONS, "rates": RATES}
SLOW = ("gradmask", "rrr", "cft")  # run last, but for the first kind and number of masks
TITLES: dict[str, str] = {
    "attention": "relevance guidance, `--train attention`",
    "paper": "relevance guidance, all weights (the paper's)",
    "cft": "relevance guidance, `--recipe cft`",
    "cross-entropy": "cross-entropy alone",
    "gradmask": "GradMask",
    "rrr": "Right for the Right Reasons",
    "swap-augmentation": "background-swap augmentation",
    "energy": "energy loss",
    "swap-relevance": "background swaps and relevance guidance",
    "dfr": "last layer, from the old head, on swapped backgrounds",
}
TITLES |= {name: f"{TITLES[name.split(' at ')[0]]}, at {name.split(' at ')[1]}" for name in RATES}


def options_of(arm: str, rates: dict[str, float], temperature: float) -> dict[str, Any]:
    """Options of finetune for an arm, with the testbed's rates (by arm, or for ``attention`` and ``all`` weights)."""
    options = dict(ARMS[arm])
    guidance = options.get("guidance", "robustvit")
    if "lr" not in options and guidance != "last-layer":  # its default is for the head
        options["lr"] = rates.get(arm, rates[str(options.get("train", "all"))])
    if guidance == "robustvit":
        options["temperature"] = temperature
    return options
