"""TokenCut: a normalised cut of patch features, sharpened by the bilateral solver."""
