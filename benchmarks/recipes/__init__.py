"""Which recipe wins: arms, testbed with power, runs and tables."""
