"""The embedded benchmark: scenes whose background gives the class away, and a small model that relies on it."""
