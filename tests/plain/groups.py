"""Group methods once more, photo by photo, in plain Python."""

from __future__ import annotations

import math


def plain_cross_entropy(logits, label):
    highest = max(logits)
    return highest + math.log(sum(math.exp(one - highest) for one in logits)) - logits[label]


def plain_reweighted(losses, groups, counts):
    """Mean over photos, each divided by the share of its group times the number of groups."""
    total = 0.0
    for loss, group in zip(losses, groups, strict=True):
        total += loss / (len(counts) * counts[group] / sum(counts))
    return total / len(losses)


def plain_dro_steps(batches, groups, step):
    """The loss of each step and the final q of Sagawa et al.'s algorithm 1; batches of (losses, groups of photos)."""
    q = [1 / groups] * groups
    told = []
    for losses, members in batches:
        means = []
        for group in range(groups):
            own = [loss for loss, member in zip(losses, members, strict=True) if member == group]
            means.append(sum(own) / len(own) if own else 0.0)
        q = [one * math.exp(step * mean) for one, mean in zip(q, means, strict=True)]
        q = [one / sum(q) for one in q]
        told.append(sum(one * mean for one, mean in zip(q, means, strict=True)))
    return told, q
