"""How many photos and classes are enough, and how far seeds differ: the package's two sweeps on the embedded benchmark.

    python benchmarks/sensitivity.py [--engine ray] [--work runs/sensitivity] [--epochs 12]

Writes scenes and the options that all trials share, runs ``robustvit sweep seeds`` and ``robustvit sweep sensitivity``
there (65 runs; called again it goes on where it stopped), and a dated record: means and standard deviations over seeds,
and the plot of the paper's Figure 7. Fewer photos are fewer steps, as in the paper: the number of epochs is the same.
"""

from __future__ import annotations

import argparse
import shutil
from datetime import date
from importlib.resources import files
from pathlib import Path

import yaml

from robustvit import sweep
from robustvit.demonstration import SETTINGS, TRAIN_PER_CLASS
from robustvit.embedded.scenes import write_split
from robustvit.files import write_json, write_text
from robustvit.runs import versions
from robustvit.sweeps.results import over_seeds, read_rows, varying

RESULTS = Path(__file__).parent / "results"
SHARED = ("train", "lr", "temperature")  # what the demo found; photos, classes and epochs are the sweeps'
MEASURES = {"ordinary": "ordinary", "mixed-rand": "random backgrounds", "miou": "mIoU of the map"}


def write_base(work: Path, epochs: int) -> Path:
    """Scenes to train on, to choose the epoch and to judge, a copy of the model, and a file of finetune options."""
    place = work / "base.yaml"
    if place.exists():
        return place
    for name, number, seed, part in (("train", TRAIN_PER_CLASS, 1, "train"), ("validation", 3, 2, "train"),
                                     ("test", 24, 3, "test")):  # fmt: skip
        write_split(work / name, number, seed=seed, part=part)
    shutil.copytree(str(files("robustvit.embedded") / "model"), work / "base", dirs_exist_ok=True)
    options = {name: SETTINGS[name] for name in SHARED} | {"model": f"local-dir:{work / 'base'}", "epochs": epochs}
    options |= {"swaps": 1, "panels": 0, "tracker": "none"}
    for prefix, name in (("", "train"), ("val_", "validation"), ("test_", "test")):
        options |= {f"{prefix}{kind}": str(work / name / kind) for kind in ("images", "masks")}
    write_text(yaml.safe_dump(options), place)
    return place


def as_markdown(record: dict) -> str:
    """The record as tables to read."""
    lines = [f"# Seeds and sensitivity on the embedded benchmark, {record['date']}", "", f"`{record['command']}`; all "
             f"trials: `{record['options']}`; 240 test scenes.", ""]  # fmt: skip
    for name, rows in record["sweeps"].items():
        axes = [axis for axis in rows[0] if axis in record["varies"][name]]
        head = [*axes, "seeds", *(f"{title}, change in points" for title in MEASURES.values())]
        lines += [f"## `robustvit sweep {name}`", "", f"| {' | '.join(head)} |", "|---" * len(head) + "|"]
        for row in rows:
            changes = [f"{100 * row[f'{measure} difference']:+.1f} ± {100 * row[f'{measure} difference sd']:.1f}"
                       for measure in MEASURES]  # fmt: skip
            lines.append("| " + " | ".join([*(str(row[axis]) for axis in axes), str(row["seeds"]), *changes]) + " |")
        lines.append("")
    shown = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return "\n".join([*lines, "Means ± standard deviations over seeds.", "", f"Versions: {shown}", ""])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("runs/sensitivity"))
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--engine", choices=["local", "ray"], default="local")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args()
    base = write_base(args.work.absolute(), args.epochs)
    sweeps, varies = {}, {}
    for name in ("seeds", "sensitivity"):
        folder = args.work / name
        print(sweep(name, base=str(base), out=str(folder), engine=args.engine), flush=True)
        rows = read_rows(folder / "results.csv")
        sweeps[name], varies[name] = over_seeds(rows), varying(rows)
    options = yaml.safe_load(base.read_text(encoding="utf-8"))
    record = {
        "date": date.today().isoformat(),
        "command": f"python benchmarks/sensitivity.py --engine {args.engine} --epochs {args.epochs}",
        "options": {name: options[name] for name in (*SHARED, "epochs", "swaps")},
        "varies": varies,
        "sweeps": sweeps,
        "versions": versions(),
    }
    target = args.out / f"sensitivity-{record['date']}"
    write_json(record, target.with_suffix(".json"))
    write_text(as_markdown(record), target.with_suffix(".md"))
    shutil.copy(args.work / "sensitivity" / "against_samples_per_class.png", target.with_suffix(".png"))


if __name__ == "__main__":
    main()
