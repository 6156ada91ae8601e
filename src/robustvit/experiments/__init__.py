"""Many runs: sweeps, the search for a learning rate, and the paper's tables made again."""
