"""Object masks: make, import from annotations, rate and review them."""
