"""Models and methods at a glance: docs/reference/zoo.md."""
