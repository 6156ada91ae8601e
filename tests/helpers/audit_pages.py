"""Reading the page of an audit as a reader would, and comparing its numbers with the record's."""

from __future__ import annotations

import re
from html.parser import HTMLParser


def numbers_of(value):
    """All numbers anywhere in a JSON value."""
    if isinstance(value, bool):
        return
    if isinstance(value, (int, float)):
        yield float(value)
    elif isinstance(value, (dict, list)):
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers_of(one)


class Page(HTMLParser):
    """What a reader would read, without charts, and what a browser would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.sources: list[str] = []
        self.tags: list[str] = []
        self.alts: list[str] = []
        self.chart = self.style = 0
        self.feed(text)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attributes):
        found = dict(attributes)
        self.tags.append(tag)
        self.chart += tag == "svg"
        self.style += tag in ("style", "script")
        self.sources += [found[name] for name in ("src", "href") if found.get(name) and not self.chart]
        if tag == "img":
            self.alts.append(found.get("alt", ""))

    def handle_endtag(self, tag):
        self.chart -= tag == "svg"
        self.style -= tag in ("style", "script")

    def handle_data(self, data):
        if not self.chart and not self.style:
            self.words.append(data)


def check_numbers(page: Page, record) -> None:
    """Every figure that the page shows is one of the record's."""
    known = set()
    for value in numbers_of(record):
        known |= {f"{100 * value:.1f}", f"{abs(100 * value):.1f}", f"{100 * value:.0f}", f"{value:.2f}", f"{value:g}"}
        known |= {f"{100 * value:g}", f"{-100 * value:.1f}"}
    body = page.text[: page.text.index("How it was made")]
    shown = re.findall(r"(?<![\w.])\d+\.\d+(?![\w.])", body)
    assert len(shown) > 100
    assert not [number for number in shown if number not in known]
