"""Which method of guidance helps, and when."""
