"""Relevance maps: what a model looks at, and how far such maps can be trusted."""
