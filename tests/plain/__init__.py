"""Second, slow, plain implementations of what the package computes."""
