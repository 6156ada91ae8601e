"""Results kept as files, one for each model, set and protocol, and the results that others reported."""
