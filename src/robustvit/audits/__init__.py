"""The audit of a model: what is measured, how it is judged, and the page and record of it."""
