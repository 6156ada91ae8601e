"""The paper's tables and figures, made again: what each needs as data, and what trains, evaluates and draws it."""
