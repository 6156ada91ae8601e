"""Models and methods at a glance: docs/zoo.md."""
