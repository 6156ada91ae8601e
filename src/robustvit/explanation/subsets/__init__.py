"""Sufficient input subsets: the search, and the command that draws a panel of them."""
