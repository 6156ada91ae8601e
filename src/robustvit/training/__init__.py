"""Finetuning with guidance: the loop, its state, and the run that a folder keeps."""
