"""Find phrases that a native reader stumbles over, and say what to write instead. `make check` runs this.

codespell checks the spelling of single words; these are phrases, which may continue on the next line. Add a line to
PHRASES when a review finds another.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDERS = ("src", "docs", "examples", "benchmarks", ".github")
KINDS = (".py", ".md", ".html", ".j2", ".js", ".yml")
PHRASES = {
    r"by lot": "at random",
    r"mend(s|ed|ing)?": "fix",
    r"(go|goes|going|went|gone) on with": "resume, continue",
    r"(hold|holds|held|holding) (\S+ ){0,4}against": "compare with",
    r"pass(es|ed|ing)? over": "ignore, skip",
    r"(is|are|was|were) no numbers?": "is NaN",
    r"that there (is|are) not": "missing",
    r"(as|there are|in|of) so many": "that many",
    r"as far as there": "if there are that many",
    r"(run|sweep|file|folder|record)s? of ours|ours? to answer": "written by robustvit",
    r"what was expected, what came": "what was expected, what was given, and how to fix it",
    r"bears? (\S+ ){0,3}(rates?|learning)": "tolerate",
    r"(leave|leaves|left|leaving) out zero": "exclude zero",
    r"(hold|holds|held) zero": "include zero",
    r"goes first": "override",
    r"not stand beside": "not mix with",
    r"draws? other numbers": "draw different random numbers",
    r"loses? nothing but time": "lose no finished work",
    r"is the \w+'s to": "is handled by",
    r"can be believed|are to be believed": "trustworthy",
    r"taken over by a background": "the background flips the answer",
    r"(timm|which) has no more": "no longer provides",
    r"beside --[a-z]\S*": "with",
    r"of one's own": "your own, custom",
    r"of which nothing says": "that do not say",
    r"as far as the user": "what the user",
    r"(that|which|it|they) (is|are) no (image|photo|mask|class|category|object|text|name|area|word)\w*": "is not a",
}
PATTERNS = {re.compile(rf"\b(?:{p})(?!\w)".replace(" ", r"[\s#>]+"), re.IGNORECASE): say for p, say in PHRASES.items()}


def texts() -> Iterator[Path]:
    """Yield the files with words for readers; results of benchmarks are records and stay as written."""
    yield from sorted(ROOT.glob("*.md"))
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in KINDS and "results" not in path.parts:
                yield path


def hits(text: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, phrase and what to write instead."""
    for pattern, say in PATTERNS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, " ".join(match.group().split()), say


def main() -> int:
    """Print every hit in the project. Return 1 if there is one."""
    failed = False
    for path in texts():
        for line, phrase, say in sorted(hits(path.read_text(encoding="utf-8"))):
            failed = True
            print(f'{path.relative_to(ROOT)}:{line}: "{phrase}": write "{say}"')
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
