"""The paper's tables and figures, reproduced: what each needs, and the code that trains, evaluates and draws it."""
