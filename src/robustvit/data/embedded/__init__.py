"""The embedded benchmark: scenes in which the background gives the class away, and a small model that fell for it."""
