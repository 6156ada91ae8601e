"""The segmentation test of the paper's Table 3: relevance maps held against what is to be seen."""
