"""What finetuning changed class by class (paper, Appendix J)."""
