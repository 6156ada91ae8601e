"""Draw the pictures of docs/gallery.md, and the report and the audit that README and the how-to show.

    robustvit demo --out runs/demo
    python scripts/draw_gallery.py --demo runs/demo --out runs/gallery

All of them show the embedded scenes, so that anyone can draw them again. The commands run here as a user would type
them; pages are photographed by Chromium, which has to be on the path.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent.parent / "docs"
GALLERY = DOCS / "gallery"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SCENES = 3  # of each class, for the quick pictures


@dataclass(frozen=True)
class Shot:
    """The top of a page to photograph, as a picture of this size."""

    page: Path
    picture: Path
    size: tuple[int, int]


def run(*arguments: object) -> None:
    """Run a command of robustvit; a mistake of it ends the script."""
    subprocess.run([sys.executable, "-m", "robustvit.cli", *map(str, arguments)], check=True)


def copy_scenes(data: Path, out: Path, count: int = SCENES) -> tuple[Path, Path]:
    """Copy a few scenes of each class; return the folders of photos and masks."""
    for kind in ("images", "masks"):
        for folder in sorted(path for path in (data / kind).iterdir() if path.is_dir()):
            (out / kind / folder.name).mkdir(parents=True, exist_ok=True)
            for file in sorted(folder.iterdir())[:count]:
                shutil.copy(file, out / kind / folder.name)
    return out / "images", out / "masks"


def photograph(shot: Shot) -> None:
    """Photograph the first screen of a page, with few colours, so that the file stays small."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit(f"expected one of {', '.join(BROWSERS)} on the path, found none: install a browser")
    whole = shot.picture.with_suffix(".whole.png")
    width, height = shot.size
    subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars",
         f"--window-size={width},{height}", f"--screenshot={whole}", shot.page.resolve().as_uri()],
        check=True, capture_output=True,
    )  # fmt: skip
    with Image.open(whole) as picture:
        seen = picture.convert("RGB")
    seen.quantize(palette=seen.quantize(256), dither=Image.Dither.FLOYDSTEINBERG).save(shot.picture, optimize=True)
    whole.unlink()


def shrink(source: Path, target: Path, side: int = 1400) -> None:
    """Save a picture of a command as a JPEG of at most ``side`` pixels."""
    with Image.open(source) as picture:
        smaller = picture.convert("RGB")
    smaller.thumbnail((side, side))
    smaller.save(target, quality=85, optimize=True)


def first_corrected(out: Path) -> str:
    """Return the first scene, in the order of the set, whose answer was corrected in the most helped class."""
    panels = json.loads((out / "classes.json").read_text(encoding="utf-8"))["panels"]
    return str(next(panel for panel in panels if panel["direction"] == "helped")["images"][0]["image"])


def draw(demo: Path, out: Path) -> None:
    """Run the commands and draw each picture, the quick ones first."""
    GALLERY.mkdir(exist_ok=True)
    model, base, data = demo / "run", f"local-dir:{demo / 'base'}", demo / "data"
    run("report", model, "--out", out / "report.html")
    photograph(Shot(out / "report.html", DOCS / "report.png", (800, 1400)))
    images, masks = copy_scenes(data / "test", out / "scenes")
    kinds = "imagenet-9,mixed-other,si-size,si-rotation"
    run("shifts", "--images", images, "--masks", masks, "--out", out / "shifted", "--kinds", kinds, "--pairs", 2,
        "--every", 30)  # fmt: skip
    shrink(out / "shifted" / "contact-sheet.png", GALLERY / "shifts.jpg")
    run("classes", "--model", model, "--baseline", base, "--images", data / "swapped/images", "--masks",
        data / "swapped/masks", "--out", out / "classes.html")  # fmt: skip
    photograph(Shot(out / "classes.html", GALLERY / "classes.png", (900, 1100)))
    shutil.rmtree(out / "explained", ignore_errors=True)
    run("explain", "--model", model, data / "swapped/images" / first_corrected(out), "--out", out / "explained")
    shrink(next((out / "explained").glob("*.png")), GALLERY / "explain.jpg")
    run("masks", "--images", images, "--model", base, "--out", out / "masks", "--review-page", out / "review.html")
    photograph(Shot(out / "review.html", GALLERY / "review.png", (1280, 1000)))
    run("audit", "--model", base, "--images", data / "test/images", "--masks", data / "test/masks", "--tries", 4,
        "--shifted", 20, "--out", out / "audit.html")  # fmt: skip
    photograph(Shot(out / "audit.html", DOCS / "howto" / "audit.png", (1000, 1500)))


def main() -> None:
    """Read the options, and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--demo", type=Path, default=Path("runs/demo"), help="folder of robustvit demo")
    parser.add_argument("--out", type=Path, default=Path("runs/gallery"), help="folder for what the commands write")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    draw(options.demo, options.out)


if __name__ == "__main__":
    main()
