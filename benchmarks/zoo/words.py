"""The words of docs/reference/zoo.md; every figure in it comes from the records that ``page.py`` reads."""

from __future__ import annotations

import re

# By arm of the study: options, what it is, the kind of step that step.py measured, when to take it.
GUIDANCE: dict[str, tuple[str, str, str, str]] = {
    "swap-relevance": (
        "`--guidance swap-relevance`, `--recipe recommended`",
        "answer and map are trained on objects pasted onto backgrounds of other photos",
        "swap-relevance",
        "you finetuned the model yourself and have some masks: start here",
    ),
    "attention": (
        "`--train attention`",
        "the map of the true class is pulled onto the mask; only queries and keys are trained",
        "first order",
        "you want the paper's loss on a model that you finetuned yourself",
    ),
    "paper": (
        "`--recipe paper`, `--recipe vit-b` ...",
        "the same loss; all weights are trained",
        "first order",
        "to reproduce the paper, at its low learning rates, on ImageNet models",
    ),
    "cft": (
        "`--recipe cft`",
        "the same loss, with term weights for soft concept masks",
        "first order",
        "your masks are soft",
    ),
    "energy": (
        "`--guidance energy`",
        "as much of the relevance as possible inside the mask or box",
        "first order",
        "your masks are boxes, or outlined roughly",
    ),
    "cross-entropy": (
        "`--guidance cross-entropy`",
        "plain finetuning on the same photos, without masks",
        "plain step",
        "as a control: what does more training alone do?",
    ),
    "gradmask": (
        "`--guidance gradmask`",
        "the gradient of the true logit with respect to the pixels is penalised on the background",
        "gradmask",
        "to compare with the literature; works for convolutional networks too",
    ),
    "rrr": (
        "`--guidance rrr`",
        "the same for the sum of all log-probabilities",
        "gradmask",
        "to compare with the literature; works for convolutional networks too",
    ),
    "swap-augmentation": (
        "`--guidance swap-augmentation`",
        "cross-entropy on objects pasted onto backgrounds of other photos",
        "swap-augmentation",
        "you want accuracy on other backgrounds, wherever the map is: try it as well as the first",
    ),
    "dfr": (
        "`--guidance last-layer` (not measured: `--guidance dfr`)",
        "only the last layer is trained, from the old head, on swapped backgrounds; `--guidance dfr` (Deep Feature "
        "Reweighting) fits a new head and was not measured here",
        "",
        "the features are good (a large pretrained model) and training must be quick",
    ),
}
VARIANTS: dict[str, str] = {
    "no guidance": "no guidance: `--relevance-weight 0`",
    "without background (1)": "`--background 0`",
    "without foreground (2)": "`--foreground 0`",
    "without confidence (4)": "`--classification-weight 0`",
    "true label in (4)": "`--classification label`",
    "second order": "`--second-order`",
    "attnlrp": "`--relevance attnlrp`",
    "rollout": "`--relevance rollout`",
    "grad_cam": "`--relevance grad_cam`",
}
RELEVANCE: dict[str, tuple[str, str]] = {
    "gae": ("the paper's rule: attention times its gradient, over all blocks; the default", "Chefer et al. 2021"),
    "attnlrp": ("relevance propagated backwards through every operation", "Achtibat et al. 2024"),
    "legrad": ("gradient of each block's own prediction with respect to its attention", "Bousselham et al. 2024"),
    "rollout": ("product of the mean attention maps; the same for every class", "Abnar and Zuidema 2020"),
    "raw_attention": ("the last block's attention; the same for every class", "standard rival in the literature"),
    "grad_cam": ("features weighted by their mean gradient", "Selvaraju et al. 2017"),
    "input_gradient": ("absolute gradient of the logit with respect to the pixels", "Simonyan et al. 2013"),
}
CITED = re.compile(r"(<!-- measured -->\n).*?(<!-- end -->)", re.DOTALL)
README = """\
Real photos of five animals, a pretrained ViT-S at 112 px and 10 masks per class, or 30 where a row says so. The first
row is the accuracy of the base models in percent. The others are changes in points, with weights interpolated between
the base model and the finetuned one: means over base models with 95 % CIs over photos and models, bold where the CI
excludes zero ([record](benchmarks/results/{recipes}.md)). *mixed-other*: objects on backgrounds of other classes;
*unseen backgrounds*: on backgrounds that no method trained on; *PACS*: paintings, cartoons and sketches, dog against
horse.

{table}
"""
FAITHFUL = """*Deletion* and *insertion*: area under the curve of the predicted class's probability as the most relevant
pixels are removed (lower is better) or inserted (higher is better), for the embedded model on {photos} of its scenes
([record](../../benchmarks/results/{name}.json)). *Random weights*: rank correlation of a map with that of the same
model after all weights of its head and blocks were shuffled; near 1, the map shows the photo and not the model. For
your model, measure it yourself:
`robustvit faithfulness --model MODEL --images PHOTOS`.
"""
PAGE = """# Models and methods at a glance

<!-- Made by benchmarks/zoo/page.py from the newest records: change words in benchmarks/zoo/words.py, then run it. -->

Which models work, which methods there are, what each costs, what it changed in our measurements, and when to use it.
[Guidance methods](methods.md) explains the options, and [the study](../explanation/study.md) the numbers.

## Guidance methods

`robustvit finetune --guidance NAME`. The cost is the time of a training step, as a multiple of a plain one, over all
[measured models](#what-a-step-costs); it rises with the number of patches.

{methods}

### What they changed

Changes in points from the base model (first row: its accuracy in percent): means over seeds with 95 % CIs over photos,
bold where the interval excludes zero. *Random backgrounds* is mixed-rand: the object on the background of a photo of a
random class. All are from [one record](../../benchmarks/results/{study}.md), which has more measures and these kinds
and numbers of masks: {settings}.

{measured}

Both testbeds are small, and seeds differ. Measure on your own photos before you decide: see [the first
hour](../tutorial.md).

### Variants

Ablations of relevance guidance, and other learning rates. [The
study](../explanation/study.md#what-each-part-of-the-loss-does) explains them.

{variants}

## What a step costs

Ratios of times within one run, on CPU cores, in float32: a step compared with a plain training step, a map with a plain
forward pass. Memory, and where the time goes: [benchmarks](../../benchmarks/README.md#what-a-guided-step-costs).

{costs}

## Relevance methods

`--relevance NAME`, and `relevance(..., method=NAME)`. *Works for*: the number of families [below](#models) for which it
gives a map and a gradient that trains ([record](../../benchmarks/results/{families}.json)).
{faithful}
{relevance}

One scene of the embedded benchmark, with the maps for the class of the symbol:

![The scene, its mask, and the map of each relevance method](zoo.png)

A map alone does not show what the prediction relies on, whether it is on the object or not: measure with the
[audit](../howto/audit.md).

## Models

Tested with a small model with random weights for each family ([record](../../benchmarks/results/{families}.json)). The
maps of `gae` are compared with a slow reference ([which models work](models.md)). *All six* are the methods above.

{models}
"""
