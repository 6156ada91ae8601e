"""Tables as a reader gets them: rendered, read back from the text, and held against the numbers they were made of."""

from __future__ import annotations

import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest

from helpers.browser import chromium, opened
from helpers.records import WEIGHTS, make_record
from robustvit import UserError, table
from robustvit.cli import main as cli
from robustvit.common.intervals import Interval
from robustvit.common.pages import escape_latex, escape_markdown
from robustvit.evaluation.records.record import write_record
from robustvit.evaluation.records.reported import REPORTED, reported_table

FORMATS = ("markdown", "html", "latex")
OTHER = "f" * 64
ALL = ["INet-A top-1", "INet-A top-5", "INet-A top-1, classes seen", "ObjectNet top-1", "waterbirds"]
NASTY = r"runs/a_b|c\d & 50% <b>$x$</b> {y} #1 ~^ [z] *w* `v`"


class Cells(HTMLParser):
    """Rows of an HTML table as lists of text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "th")

    @property
    def complete(self) -> list[list[str]]:
        """Rows that begin with their model, which is the heading of a group on the page."""
        heading, *rows = [[" ".join(cell.split()) for cell in row] for row in self.rows]
        found, model = [["model", *heading]], ""
        for row in rows:
            if len(row) == 1:
                model = row[0]
            else:
                found.append([model, *row])
        return found

    def handle_data(self, data):
        if self.inside:
            self.rows[-1][-1] += data


def unescaped(text: str, format: str) -> str:
    if format == "markdown":
        text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        return re.sub(r"\\([\\`*_|~#])", r"\1", text)
    plain = {r"\textbackslash{}": "\0", r"\textasciitilde{}": "~", r"\textasciicircum{}": "^", r"\textless{}": "<"}
    plain |= {r"\textgreater{}": ">", r"\textbar{}": "|", "{[}": "[", "{]}": "]", "$-$": "−", r"$\pm$": "±"}
    plain |= {r"\dag{}": "†", r"\ddag{}": "‡", r"\textquotedbl{}": '"'}
    for mark, character in plain.items():
        text = text.replace(mark, character)
    return re.sub(r"\\([&%$#_{}])", r"\1", text).replace("\0", "\\")


def cells_of(text: str, format: str) -> list[list[str]]:
    """All rows, headings first, whatever the format."""
    if format == "html":
        return Cells(text).complete
    if format == "markdown":
        lines = [line for line in text.splitlines() if line.startswith("|") and not line.startswith("|---")]
        parts = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines]
    else:
        body = text[text.index(r"\toprule") : text.index(r"\bottomrule")]
        lines = [line[:-2] for line in body.splitlines() if line.endswith(r"\\")]
        parts = [re.split(r"(?<!\\)&", line) for line in lines]
    return [[unescaped(cell.strip(), format) for cell in row] for row in parts]


def numbers_in(cell: str) -> list[float]:
    return [float(found.replace("−", "-")) for found in re.findall(r"[+−-]?\d+(?:\.\d+)?", cell)]


@pytest.fixture
def records(tmp_path):
    folder = tmp_path / "records"
    wide = Interval(0.2044, 0.19, 0.222, 7500)
    write_record(make_record(), folder)
    write_record(make_record(protocol="standard", numbers={"top1": wide}), folder)
    write_record(
        make_record("objectnet", samples=120, complete=False, numbers={"top1": Interval(0.401, 0.3, 0.5, 120)}), folder
    )
    ours = make_record(weights=OTHER, method="robustvit", numbers={"top1": wide, "seen_top1": wide})
    ours.model["source"] = NASTY
    write_record(ours, folder)
    write_record(make_record("waterbirds", weights=OTHER, card=None, numbers={"headline": wide, "top1": wide}), folder)
    return folder


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("name", REPORTED)
def test_reported_numbers_are_read_back(name, format):
    reported = reported_table(name)
    heading, *rows = cells_of(table(name, format=format), format)
    assert len(heading) == 3 + len(reported.columns)
    assert len(rows) == len(reported.rows) + len(reported.changes)
    for row, expected in zip(rows, reported.rows, strict=False):
        assert row[2] == f"reported, {reported.protocol}"
        for position, cell in enumerate(row[3:]):
            value = expected.values[position]
            spread = [expected.spread[position]] if expected.spread else []
            assert numbers_in(cell) == ([] if value is None else [value, *spread]), (name, row[0], row[1])
    for row, change in zip(rows[len(reported.rows) :], reported.changes, strict=True):
        assert [numbers_in(cell)[0] for cell in row[3:]] == list(change.values)


@pytest.mark.parametrize("format", FORMATS)
def test_measured_stands_beside_reported(records, format):
    text = table("table1", records=str(records), format=format)
    heading, *rows = cells_of(text, format)
    place = {name: position for position, name in enumerate(heading)}
    assert [row[2] for row in rows[:4]] == [
        "reported, paper",
        "measured, paper",
        "measured, standard",
        "reported, paper",
    ]
    measured = rows[1]
    assert measured[:2] == ["ViT-B", f"original: vit-b ({WEIGHTS[:8]})"]
    assert numbers_in(measured[place["INet-A top-1"]]) == [16.0, 15.0, 17.0, 0.0]
    assert numbers_in(measured[place["INet-A top-5"]]) == [37.0, 36.0, 38.0, 0.0]
    assert numbers_in(measured[place["ObjectNet top-1"]]) == [40.1, 30.0, 50.0, 5.0], "reported 35.1"
    assert "†" in measured[place["ObjectNet top-1"]]
    assert "†" not in measured[place["INet-A top-1"]]
    assert measured[place["INet val top-1"]] == ""
    other = rows[2][place["INet-A top-1"]]
    assert numbers_in(other) == [20.4, 19.0, 22.2, 4.4]
    assert "‡" in other
    ours = next(row for row in rows if row[1].startswith("RobustViT:"))
    assert ours[1] == f"RobustViT: {NASTY} (ffffffff)"
    assert numbers_in(ours[place["INet-A top-1"]]) == [20.4, 19.0, 22.2, -3.7], "reported 24.1"
    said = " ".join(unescaped(text, format).split()) if format != "html" else text
    for words in ("120 of 7,500", "another protocol", "1 more result is recorded"):
        assert words in said


def test_the_best_of_a_model_is_marked_among_numbers_of_one_origin(records):
    rows = [line for line in table("table1", records=str(records)).splitlines() if line.startswith("| ViT-B |")]
    reported = [line for line in rows if "reported" in line]
    best = [max(numbers_in(line.split("|")[4])[0] for line in reported)]
    marked = [float(found) for line in reported for found in re.findall(r"\*\*([\d.]+)\*\*", line.split("|")[4])]
    assert marked == best
    assert not any("**" in line for line in rows if "measured, standard" in line), "nothing to compare with"


def test_a_lower_calibration_error_is_better(tmp_path):
    for weights, error in ((WEIGHTS, 0.2), (OTHER, 0.1)):
        write_record(make_record(weights=weights, numbers={"ece": Interval(error, 0, 1, 9)}), tmp_path)
    text = str(table("all", records=str(tmp_path)))
    assert "**10.0**" in text
    assert "**20.0**" not in text


def test_one_protocol_alone(records):
    text = table("table1", records=str(records), protocol="standard")
    assert "measured, standard" in text
    assert "measured, paper" not in text
    assert "measured" not in table("table2", records=str(records))


def test_classes_seen_are_their_own_numbers(records):
    heading, *rows = cells_of(table("table10", records=str(records)), "markdown")
    measured = [row for row in rows if row[2].startswith("measured")]
    assert len(measured) == 1
    assert measured[0][1].startswith("RobustViT, classes seen:")
    assert numbers_in(measured[0][heading.index("INet-A top-1")]) == [20.4, 19.0, 22.2, -2.5], "reported 22.9"


@pytest.mark.parametrize("format", FORMATS)
def test_all_results(records, format):
    heading, *rows = cells_of(table("all", records=str(records), format=format), format)
    assert heading == ["model", "method", "numbers", *ALL]
    assert [row[2] for row in rows].count("measured, paper") == 2
    assert len(rows) == 3
    found = {numbers_in(row[3])[0] for row in rows}
    assert found == {16.0, 20.4}
    assert [row[-1] for row in rows if row[-1]] == ["20.4 [19.0, 22.2]"]


def test_the_worst_group_of_any_model_stands_below_the_reported_ones(tmp_path):
    found = Interval(0.8, 0.7, 0.9, 40)
    numbers = {"headline": found, "top1": found, "worst_group": found}
    write_record(make_record("waterbirds", weights="c" * 64, card=None, numbers=numbers), tmp_path)
    _, *rows = cells_of(table("waterbirds", records=str(tmp_path), format="markdown"), "markdown")
    assert [row[2].split(",")[0] for row in rows] == ["reported"] * 4 + ["measured"]
    assert numbers_in(rows[-1][3]) == [80.0, 70.0, 90.0]


def test_latex_is_well_formed(records, tmp_path):
    for name in (*REPORTED, "all"):
        text = table(name, records=str(records), format="latex")
        bare = re.sub(r"\\[{}\\]", "", text)
        depth = 0
        for character in bare:
            depth += (character == "{") - (character == "}")
            assert depth >= 0
        assert depth == 0
        assert len(re.findall(r"(?<!\\)\$", text)) % 2 == 0
        columns = len(re.search(r"\\begin{tabular}{(\w+)}", text)[1])
        rows = [line for line in text.splitlines() if line.endswith(r"\\")]
        assert all(len(re.findall(r"(?<!\\)&", row)) == columns - 1 for row in rows)
        assert text.isascii() or not re.search(r"[−±†‡–]", text)
    compiler = next(filter(None, map(shutil.which, ("pdflatex", "xelatex", "tectonic"))), None)
    if compiler:
        (tmp_path / "t.tex").write_text(
            "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n" + text + "\\end{document}\n"
        )
        subprocess.run([compiler, "t.tex"], cwd=tmp_path, check=True, stdin=subprocess.DEVNULL, capture_output=True)


def test_escapes_come_back():
    for text in (NASTY, "a\\|b", "<script>", "− ± † ‡", "100 % & more_"):
        assert unescaped(escape_markdown(text), "markdown") == text
        assert unescaped(escape_latex(text), "latex") == text
    assert "\n" not in escape_markdown("a\nb") + escape_latex("a\nb")


def test_page_in_a_browser(records, tmp_path):
    page_file = table("table1", records=str(records), format="html", out=str(tmp_path / "t.html"))
    with chromium() as browser:
        with opened(browser, page_file) as page:
            rows = page.locator("tbody tr:not(.group)").all_inner_texts()
            assert page.locator("tr.group").all_inner_texts()[0] == "ViT-B"
            assert page.evaluate("document.querySelector('.wide').scrollWidth") <= 1280, "no column is cut"
            assert len(rows) == len(cells_of(page_file.read_text(), "html")) - 1
            assert page.locator("b").count() == 0, "a name with tags stays text"
            assert page.get_by_text("<b>$x$</b>").count() == 1
            assert page.locator("tr.measured").count() == 3
            assert page.locator("thead").is_visible()
        with opened(browser, page_file, width=390) as page:
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= 390
            label = page.evaluate("getComputedStyle(document.querySelector('td[data-label]'), '::before').content")
            assert "INet val top-1" in label


@pytest.mark.parametrize("format", FORMATS)
def test_files_are_written_anew_but_never_over_something_else(tmp_path, format):
    path = tmp_path / "new" / "table.txt"
    assert table("table3", format=format, out=str(path)) == path
    first = path.read_text()
    assert table("table3", format=format, out=str(path)) == path
    assert path.read_text() == first
    assert cells_of(first, format) == cells_of(table("table3", format=format), format)
    path.write_text("thesis")
    for place, words in ((path, "not a table"), (tmp_path, "is a folder")):
        with pytest.raises(UserError, match=words):
            table("table3", format=format, out=str(place))
    assert path.read_text() == "thesis"


def run(capsys, *arguments):
    code = cli.main(["table", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_command(capsys, records, tmp_path):
    code, stdout, _ = run(capsys, "table1", "--records", records)
    assert code == 0
    assert stdout.rstrip("\n") == table("table1", records=str(records))
    code, stdout, _ = run(capsys, "all", "--records", records, "--format", "latex", "--out", tmp_path / "all.tex")
    assert code == 0
    assert stdout.strip() == str(tmp_path / "all.tex")
    assert r"\bottomrule" in (tmp_path / "all.tex").read_text()


def test_mistakes_are_one_line(capsys, records, tmp_path):
    (records / "notes.json").write_text("{")
    for arguments, words in (
        (["tabel2"], "did you mean table2?"),
        (["nothing"], "expected all or one of cft"),
        (["all"], "expected --records"),
        (["table1", "--records", tmp_path / "none"], "found none at"),
        (["table1", "--records", records], "notes.json, it is broken or cut off"),
        (["table1", "--format", "word"], "--format"),
        (["table1", "--protocol", "mine"], "--protocol"),
    ):
        code, stdout, stderr = run(capsys, *arguments)
        assert code == 2
        assert stdout == ""
        assert words in stderr
        assert stderr.count("\n") == 1
    (tmp_path / "empty").mkdir()
    assert run(capsys, "all", "--records", tmp_path / "empty")[0] == 2
    code, stdout, _ = run(capsys, "table4", "--records", tmp_path / "empty")
    assert code == 0
    assert "measured" not in stdout


def test_templates_are_part_of_the_package():
    from importlib.resources import files

    folder = Path(str(files("robustvit.evaluation.records")))
    assert {path.name for path in folder.glob("table.*.j2")} == {"table.md.j2", "table.html.j2", "table.tex.j2"}


def test_the_note_on_parts_of_sets_is_short(tmp_path):
    for number, name in enumerate(
        ("imagenet-a", "imagenet-r", "objectnet", "imagenet-val", "waterbirds", "cue-conflict")
    ):
        part = {"samples": 8 + number, "complete": False, "numbers": {"top1": Interval(0.4, 0.3, 0.5, 8)}}
        write_record(make_record(name, **part), tmp_path)
        write_record(make_record(name, weights=OTHER, **part), tmp_path)
    (line,) = (line for line in str(table("all", records=str(tmp_path))).splitlines() if line.startswith("†"))
    assert "INet-A 8 of 7,500" in line
    assert line.endswith("and 2 more.")
    assert len(line) < 160, "a note, not a list of everything"
