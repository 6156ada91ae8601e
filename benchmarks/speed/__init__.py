"""What steps, evaluations and masks cost in time and memory."""
