"""Test sets that robustness is reported on: their folders, the meaning of their labels, and the scoring of answers.

A set is a row of ``BENCHMARKS``. ``Benchmark.read`` lists its images from disk, ``stream`` loads them from the Hugging
Face hub, and ``Answers`` turns a model's logits into answers under the paper's or the standard protocol.
"""

from robustvit.evaluation.sets.answers import Answers
from robustvit.evaluation.sets.benchmark import Benchmark, Listing, Sample, Summary, check_head
from robustvit.evaluation.sets.streaming import stream
from robustvit.evaluation.sets.table import BENCHMARKS, find_benchmarks

__all__ = [
    "BENCHMARKS",
    "Answers",
    "Benchmark",
    "Listing",
    "Sample",
    "Summary",
    "check_head",
    "find_benchmarks",
    "stream",
]
