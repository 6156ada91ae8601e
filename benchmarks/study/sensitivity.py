"""How many photos and classes are enough, and how far seeds differ: the package's two sweeps on the embedded benchmark.

    python -m benchmarks.study.sensitivity [--engine ray] [--work runs/sensitivity] [--epochs 12]

Writes scenes and the options that all trials share, runs ``robustvit sweep seeds`` and ``robustvit sweep sensitivity``
there (65 runs; called again it goes on where it stopped), and a dated record: means and standard deviations over seeds,
and the plot of the paper's Figure 7. Fewer photos are fewer steps, as in the paper: the number of epochs is the same.
"""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path
from typing import Any

import yaml

from benchmarks.dated import parser_of, write_dated
from benchmarks.study.testbeds import Cell, Embedded
from robustvit import sweep
from robustvit.cli.demo import SETTINGS
from robustvit.common.files import write_text
from robustvit.common.provenance import versions
from robustvit.experiments.sweeps.results import average_seeds, format_rows, read_rows

SHARED = ("train", "lr", "temperature")  # what the demo found; photos, classes and epochs are the sweeps'


def shared_options(work: Path, epochs: int) -> dict[str, Any]:
    """Options of all trials: the study's embedded testbed, judged on its test scenes."""
    testbed = Embedded(work)
    testbed.prepare()
    places = testbed.training(Cell("attention", 0, 1)).items()
    options = {name: place for name, place in places if name.endswith(("images", "masks"))}
    options |= dict(zip(("test_images", "test_masks"), testbed.judged, strict=True))
    options |= {"model": f"local-dir:{testbed.base(0)}", "swaps": 1, "panels": 0, "tracker": "none"}
    return options | {name: SETTINGS[name] for name in SHARED} | {"epochs": epochs}


def as_markdown(record: dict[str, Any], texts: dict[str, str]) -> str:
    """The record to read, with the tables that the command prints."""
    lines = [f"# Seeds and sensitivity on the embedded benchmark, {record['date']}", "", f"`{record['command']}`; all "
             f"trials: `{record['options']}`.", ""]  # fmt: skip
    for name, text in texts.items():
        lines += [f"## `robustvit sweep {name}`", "", "```", text, "```", ""]
    return "\n".join([*lines, "Versions: " + ", ".join(f"{k} {v}" for k, v in record["versions"].items()), ""])


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--work", type=Path, default=Path("runs/sensitivity"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    args = parser.parse_args()
    options = shared_options(args.work.absolute(), args.epochs)
    base = args.work / "base.yaml"
    write_text(yaml.safe_dump(options), base)
    sweeps, texts = {}, {}
    for name in ("seeds", "sensitivity"):
        folder = args.work / name
        print(sweep(name, base=str(base), out=str(folder), engine=args.engine), flush=True)
        rows = read_rows(folder / "results.csv")
        sweeps[name], texts[name] = average_seeds(rows), format_rows(rows)
    record = {
        "date": date.today().isoformat(),
        "command": f"python -m benchmarks.study.sensitivity --engine {args.engine} --epochs {args.epochs}",
        "options": {name: options[name] for name in (*SHARED, "epochs", "swaps")},
        "sweeps": sweeps,
        "versions": versions(),
    }
    target = write_dated("sensitivity", record, as_markdown(record, texts), args.out)
    shutil.copy(args.work / "sensitivity" / "against_samples_per_class.png", target.with_suffix(".png"))


if __name__ == "__main__":
    main()
