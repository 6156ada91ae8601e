"""Make examples/own_photos.ipynb: its text and code, executed, with small outputs and no path of this machine.

    python scripts/make_notebook.py

Needs nbformat, nbclient and ipykernel. tests/test_notebook.py executes the notebook again.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from robustvit.machine_paths import machine_paths

PLACE = Path(__file__).parents[1] / "examples" / "own_photos.ipynb"
CELLS = (
    """# A first hour with your own photos

Does my classifier look at the background, and can that be helped? This notebook goes the whole way on the benchmark that comes
with the package, with few photos and one epoch, so that it runs on a laptop in a minute or two and downloads nothing:

1. **audit** the model: nothing is trained;
2. find **masks**, without annotation;
3. **finetune** its relevance onto the object;
4. read the **verdict**;
5. **explain** single photos.

For your own photos replace `model` and the folders. A folder holds one folder per class. Every step is a command of the
command line too: `robustvit audit --help`, and so on.""",
    '''import io
import os
import tempfile
from importlib.resources import files
from pathlib import Path

from IPython.display import Image as Shown
from PIL import Image

import robustvit
from robustvit.embedded.scenes import write_split

model = f"local-dir:{files('robustvit.embedded') / 'model'}"  # yours: a timm name, local-dir:folder, hf-hub:owner/name
os.chdir(tempfile.mkdtemp())  # everything below is written there
write_split(Path("photos/train"), 3, seed=1, part="train")  # images/<class>/*.png, and masks to compare with
write_split(Path("photos/test"), 2, seed=3, part="test")


def show(picture, width=620):
    """A small copy of a picture, so that the notebook stays small."""
    copy = Image.open(picture).convert("RGB") if isinstance(picture, (str, Path)) else picture
    copy.thumbnail((width, width))
    memory = io.BytesIO()
    copy.save(memory, "JPEG", quality=80)
    return Shown(memory.getvalue())


row = Image.new("RGB", (6 * 112, 112))
for place, photo in enumerate(sorted(Path("photos/train/images").glob("*/000.png"))[:6]):
    row.paste(Image.open(photo), (place * 112, 0))
show(row)''',
    """## 1. Audit

Objects are put on other backgrounds, hidden and moved. The page is one file that you can send to a colleague; the verdict is *no
sign*, *some*, *strong reliance* or *cannot tell*. Use photos that the model was not trained on. With twenty photos, as here,
intervals are wide.""",
    '''found = robustvit.audit(
    model=model, images="photos/test/images", masks="photos/test/masks", out="audit.html",
    swaps=2, tries=3, shifted=4, groups=2, worst=4,
)
print(f"{found.reliance}: {found.found.model.verdict.sentence}")''',
    """## 2. Masks

Photos without annotation: TokenCut finds the object from a backbone's features, and gives every mask a confidence. Doubtful
ones are left out of training. Here the embedded model is its own backbone; for photos leave `model`, `centre` and `size` out, and a
DINO backbone is fetched. Masks that you have already, from COCO, YOLO, LabelMe or VOC, are read with `from_="coco"`.""",
    '''made = robustvit.make_masks("photos/train/images", out="masks", model=model, centre=True, size=112, review="review.html")
print(made)''',
    '''import numpy as np

pairs = Image.new("RGB", (6 * 112, 2 * 112))
for place, mask in enumerate(sorted(Path("masks").glob("*/*.png"))[:6]):
    photo = next(Path("photos/train/images", mask.parent.name).glob(f"{mask.stem}.*"))
    pairs.paste(Image.open(photo), (place * 112, 0))
    pairs.paste(Image.fromarray(np.where(np.asarray(Image.open(mask)) > 127, 255, 0).astype(np.uint8)), (place * 112, 112))
show(pairs)''',
    """Look at them (`review.html` is a page for that) before you train: finetuning pulls the relevance to wherever the mask is. From
here on we take the exact masks of the benchmark.

## 3. Finetune

`train="attention"` changes only where the model looks, and is the safest way to start. Three photos a class, one epoch: enough
to see the steps, not to expect much.""",
    '''tuned = robustvit.finetune(
    model=model, images="photos/train/images", masks="photos/train/masks", samples_per_class=3, validation_per_class=1,
    val_images="photos/test/images", val_masks="photos/test/masks",
    train="attention", lr=3e-4, temperature=0.3, epochs=1, swaps=2, panels=1, tracker="none", out="run",
)''',
    """## 4. The verdict

Measured before and after on photos that were held out. It says whether to use the new model or to *keep the original*. It often says
the latter, and that is worth knowing.""",
    '''from IPython.display import Markdown

rows = ["| measure | before | after | change |", "|---|---:|---:|---:|"]
for one in tuned.verdict.comparisons:
    numbers = [f"{100 * side.mean:.1f} [{100 * side.low:.1f}, {100 * side.high:.1f}]" for side in (one.before, one.after)]
    change = f"{100 * one.difference.mean:+.1f} ± {100 * one.difference.half_width:.1f}"
    rows.append(f"| {one.measure} | {numbers[0]} | {numbers[1]} | {change} |")
robustvit.report("run", out="report.html")
Markdown("\\n".join([f"**{tuned.verdict.sentence}**", "", *rows]))''',
    """`report.html` holds the same with curves and examples. `robustvit.audit(model="run", baseline="original", ...)` audits both models
side by side.

## 5. Explain

Where does an answer come from, before and after?""",
    '''photo = "photos/test/images/umbrella/000.png"
explained = robustvit.explain([photo], model="run", out="explanations")
print(explained)
show(explained[0].picture)''',
    """## And then

- More photos first: about twenty masked ones a class to train on, 150 in all to judge, several `seed`s.
- `robustvit search` finds the learning rate; `robustvit sweep seeds` shows how far seeds differ.
- `robustvit export run --to folder` writes the model for timm or as ONNX, with a card; `robustvit push run me/name` puts it on the
  hub, unless the verdict says *keep the original*.""",
)


def notebook() -> nbformat.NotebookNode:
    """The notebook without outputs: cells that begin with text and cells of code, told apart by their first word."""
    cells = []
    for number, source in enumerate(CELLS):
        text = source[0] in "#`" or source[:1].isupper()
        new = nbformat.v4.new_markdown_cell if text else nbformat.v4.new_code_cell
        cells.append(new(source, id=f"cell-{number}"))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel})


def executed(book: nbformat.NotebookNode, folder: str) -> nbformat.NotebookNode:
    """The notebook with its outputs; raises where a cell fails."""
    NotebookClient(book, timeout=600, kernel_name="python3", resources={"metadata": {"path": folder}}).execute()
    for cell in book.cells:
        cell.metadata.pop("execution", None)
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if output.get("name") != "stderr"]
    return book


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        done = executed(notebook(), place)
    text = nbformat.writes(done)
    if found := machine_paths(text.replace("\\n", "\n")):
        raise SystemExit(f"the outputs name a path of this machine: {found[0]}")
    PLACE.write_text(text + "\n", encoding="utf-8")
    print(f"{PLACE.name}: {len(text) // 1000} kB")
