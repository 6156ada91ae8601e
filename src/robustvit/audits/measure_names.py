"""The measures of an audit by name, in words."""

from __future__ import annotations

AUDIT_MEASURES: dict[str, str] = {
    "ordinary": "ordinary accuracy",
    "mixed-other": "accuracy on backgrounds of other classes (mixed-other)",
    "mixed-same": "accuracy on backgrounds of the same class (mixed-same)",
    "cost": "cost of a wrong background: mixed-same − mixed-other, points",
    "mixed-rand": "accuracy on random backgrounds, the own class's too (mixed-rand)",
    "gap": "ImageNet-9's BG-Gap, to compare: mixed-same − mixed-rand, points",
    "only-fg": "accuracy on the object alone (only-fg)",
    "only-bg-t": "accuracy on the background alone, object's box tiled over (only-bg-t)",
    "only-bg-b": "accuracy on the background alone, object's box black (only-bg-b)",
    "no-fg": "accuracy on the background with the object's silhouette in black (no-fg)",
    "vulnerable": "vulnerable objects: some background flips the answer",
    "turned": "backgrounds of other classes that flip the answer",
    "position": "accuracy over positions of the object",
    "size": "accuracy over sizes of the object",
    "rotation": "accuracy over rotations of the object",
    "energy": "relevance inside the mask",
    "uniform": "the mask's share of the frame, which an even map would reach",
    "miou": "mIoU of relevance map and mask",
    "pointing": "pointing game: the map's highest point is on the object",
}

# Measures that are the difference of two kinds of swapped backgrounds.
DIFFERENCES: dict[str, tuple[str, str]] = {"cost": ("mixed-same", "mixed-other"), "gap": ("mixed-same", "mixed-rand")}
