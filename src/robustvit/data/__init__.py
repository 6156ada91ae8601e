"""Photos and masks: found on disk, read in any common format, paired, selected and cropped together."""
