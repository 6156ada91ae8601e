"""Whatever a file holds, a parser gives a result or refuses it in one line; no other error comes out."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

pytest.importorskip("hypothesis", reason="needs the package hypothesis: pip install hypothesis")

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

_PLACE = Path(__file__).parents[2] / "scripts" / "fuzz_parsers.py"
_SPEC = importlib.util.spec_from_file_location("fuzz_parsers", _PLACE)
assert _SPEC is not None
assert _SPEC.loader is not None
fuzz_parsers = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(fuzz_parsers)

JSON_FORMATS = (
    "coco", "labelme", "label-studio", "supervisely", "sa-1b", "datumaro", "fiftyone", "imagefolder"
)  # fmt: skip
few = settings(max_examples=25, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), database=None)
more = settings(few, max_examples=80)
plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
json_values = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
words = st.sampled_from(
    ["0", "1", "-1", "0.5", "nan", "inf", "1e400", "names:", "image", "mask", "label", "decision", "verdict",
     "confidence", "keep", "drop", "good", ",", "\n", '"', " ", ": ", "- ", "[", "]", "{", "}", "&a", "*a",
     "!!python/name:os.system", "a.png", "\0", "\ufeff", "<<", "2020-13-45", "!!set", "!!binary", "!!omap", "? ", "é"]
)  # fmt: skip
texts = st.lists(words, max_size=30).map("".join)


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz_parsers.PARSERS)
@few
@given(data=st.binary(max_size=600))
def test_any_bytes(name, data):
    fuzz_parsers.survives(name, data)


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz_parsers.PARSERS)
@few
@given(text=texts)
def test_any_text(name, text):
    fuzz_parsers.survives(name, text.encode())


@pytest.mark.slow
@pytest.mark.parametrize("name", [*JSON_FORMATS, "record", "config", "experiment"])
@few
@given(value=json_values)
def test_any_json(name, value):
    fuzz_parsers.survives(name, json.dumps(value).encode("utf-8", "surrogatepass"))


@pytest.mark.slow
@pytest.mark.parametrize("name", fuzz_parsers.TEMPLATES)
@more
@given(choices=st.lists(st.integers(0, 10_000), min_size=12, max_size=12))
def test_a_sound_file_with_odd_values(name, choices):
    numbers = iter(choices)
    content = fuzz_parsers.altered(fuzz_parsers.TEMPLATES[name], lambda below: next(numbers, 0) % below)
    fuzz_parsers.survives(name, json.dumps(content).encode("utf-8", "surrogatepass"))


CVAT = (
    b'<annotations><image id="0" name="a.png" width="16" height="12"><polygon label="cat" points="1,1;9,1;9,9"/>'
    b'<mask label="cat" rle="1, 3, 5" left="1" top="1" width="3" height="3"/></image></annotations>'
)
odd_bytes = st.sampled_from([b'"', b"<", b"-", b"9" * 20, b"nan", b",", b";", b"\0", b"\xff", b"&a;", b""])


@few
@given(places=st.lists(st.tuples(st.integers(0, len(CVAT) - 1), odd_bytes), min_size=1, max_size=4))
def test_a_sound_file_of_cvat_with_odd_bytes(places):
    content = bytearray(CVAT)
    for place, odd in places:
        content[place : place + 1] = odd
    fuzz_parsers.survives("cvat", bytes(content))


@few
@given(runs=st.lists(st.integers(-2, 210) | st.floats(), max_size=8))
def test_any_runs_of_kaggle(runs):
    fuzz_parsers.survives("kaggle", f"id,rle\na,{' '.join(map(str, runs))}\n".encode())


@more
@given(numbers=st.lists(st.floats() | st.integers(), max_size=14))
def test_any_numbers_in_a_yolo_line(numbers):
    fuzz_parsers.survives("yolo", " ".join(map(str, numbers)).encode())


@few
@given(counts=st.lists(st.integers(-10, 300), max_size=8) | st.text(st.characters(min_codepoint=48, max_codepoint=111)))
def test_any_run_lengths(counts):
    content = json.loads(json.dumps(fuzz_parsers.TEMPLATES["coco"]))
    content["annotations"][1]["segmentation"]["counts"] = counts
    fuzz_parsers.survives("coco", json.dumps(content).encode())


def test_sound_files_are_read():
    """The property would hold for a parser that refuses everything."""
    for name in (*JSON_FORMATS, "experiment"):
        assert fuzz_parsers.survives(name, json.dumps(fuzz_parsers.TEMPLATES[name]).encode()), name
    assert fuzz_parsers.survives("yolo", b"0 0.1 0.1 0.9 0.1 0.9 0.9\0names: [cat]")
    assert fuzz_parsers.survives("cvat", CVAT)
    assert fuzz_parsers.survives("kaggle", b"ImageId,EncodedPixels\na.png,1 3 10 5\n")
    assert fuzz_parsers.survives("imagenet-s", b"\1\0\0" * 192)
    assert fuzz_parsers.survives("config", b"lr: 3")
    assert fuzz_parsers.survives("review", b"image,decision\na.png,keep\n")
    assert fuzz_parsers.survives("manifest", b"image,mask,label,verdict,confidence\na.png,,d,good,1\n")
    assert not fuzz_parsers.survives("list", b"image\na.png\n")
