"""Photos and masks: listed, read in any common format, paired, selected and cropped together."""
