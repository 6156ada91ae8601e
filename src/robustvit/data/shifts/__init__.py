"""Shifted copies of masked photos, by the recipes of SI-Score and ImageNet-9."""
