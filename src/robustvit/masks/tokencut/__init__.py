"""TokenCut: a normalised cut of patch features, refined by the bilateral solver."""
