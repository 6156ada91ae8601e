"""Models: loaded from any library, described, changed in part, saved again."""
