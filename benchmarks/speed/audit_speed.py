"""What do the budgets of an audit cost against the audit of an older checkout, on the same photos?

    python -m benchmarks.speed.audit_speed --older CHECKOUT --model MODEL --images PHOTOS --masks MASKS

Each audit is a process of its own, on one thread, by turns in one run. What counts is CPU time (user and system),
without that of a process that only imports the package and loads the model: other programs on the machine hardly change
it. Forward passes are those that the record says.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.dated import parser_of, write_dated
from robustvit.common.provenance import versions

HERE = Path(__file__).parents[2]
_START = "; ".join(
    (
        "import robustvit.audits.audit, robustvit.audits.run, robustvit.audits.record",
        "from robustvit.models.load import load_model",
        "load_model({model!r})",
    )
)


def take(given: argparse.Namespace, folder: Path) -> tuple[Path, Path]:
    """Copy the first photos of each class, and their masks."""
    for place in (folder / "images", folder / "masks"):
        place.mkdir()
    for name in sorted(path.name for path in Path(given.images).iterdir() if path.is_dir()):
        for photo in sorted((Path(given.images) / name).iterdir())[: given.per_class]:
            (mask,) = (Path(given.masks) / name).glob(f"{photo.stem}.*")
            for file, kind in ((photo, "images"), (mask, "masks")):
                (folder / kind / name).mkdir(exist_ok=True)
                shutil.copy(file, folder / kind / name)
    return folder / "images", folder / "masks"


def timed(arguments: list[str], checkout: Path) -> tuple[float, float]:
    """Run Python with the sources of a checkout; return CPU seconds and seconds."""
    places = {"PYTHONPATH": str(checkout / "src"), "OMP_NUM_THREADS": "1"}
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, env=os.environ | places, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return spent, time.perf_counter() - start


def chosen_audits(given: argparse.Namespace, count: int) -> dict[str, tuple[Path, list[str]]]:
    """Return checkout and options of each audit; as many objects are moved as of 150 photos, in proportion."""
    found: dict[str, tuple[Path, list[str]]] = {"older": (given.older, ["--shifted", str(round(60 * count / 150))])}
    if given.full:
        found["full"] = (HERE, ["--budget", "full", "--shifted", str(round(60 * count / 150))])
    found["normal"] = (HERE, ["--budget", "normal", "--shifted", str(round(24 * count / 150))])
    return found | {"quick": (HERE, ["--budget", "quick"])}


def main() -> None:
    """By turns, and the record."""
    parser = parser_of(__doc__)
    parser.add_argument("--older", type=Path, required=True)
    for name in ("model", "images", "masks"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--per-class", type=int, default=12)
    parser.add_argument("--full", action="store_true", help="the full budget too")
    parser.add_argument("--rounds", type=int, default=1)
    given = parser.parse_args()
    passes: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as temporary:
        images, masks = take(given, Path(temporary))
        count = sum(1 for path in images.rglob("*") if path.is_file())
        kinds = chosen_audits(given, count)
        seconds: dict[str, list[float]] = {name: [] for name in ("start", *kinds)}
        for _ in range(given.rounds):
            seconds["start"].append(timed(["-c", _START.format(model=given.model)], HERE)[0])
            for name, (checkout, options) in kinds.items():
                out = Path(temporary) / f"{name}.html"
                command = ["-m", "robustvit.cli", "audit", "--model", given.model, "--images", str(images)]
                command += ["--masks", str(masks), "--device", "cpu", "--out", str(out), *options]
                spent, wall = timed(command, checkout)
                seconds[name].append(spent)
                record = json.loads(out.with_suffix(".json").read_text())
                passes[name] = record.get("spent", {}).get("a_photo", {}).get("model", float("nan"))
                print(f"{name}: {spent:.1f} s of CPU, {wall:.1f} s, {passes[name]:.1f} passes a photo", flush=True)
    write(given, seconds, passes, count)


def write(given: argparse.Namespace, seconds: dict[str, list[float]], passes: dict[str, float], count: int) -> None:
    """Write the record and its table."""
    start = statistics.median(seconds["start"])
    net = {name: statistics.median(found) - start for name, found in seconds.items() if name != "start"}
    rows: dict[str, Any] = {
        name: {
            "cpu_seconds": [round(one, 2) for one in seconds[name]],
            "net_seconds": round(value, 2),
            "ratio": round(value / net["older"], 3),
            "passes_a_photo": None if passes[name] != passes[name] else round(passes[name], 2),
        }
        for name, value in net.items()
    }
    command = f"python -m benchmarks.speed.audit_speed --per-class {given.per_class} --rounds {given.rounds}"
    about = {"command": command, "photos": count, "machine": f"{platform.machine()}, {platform.system()}, one thread"}
    start_seconds = [round(one, 2) for one in seconds["start"]]
    record = about | {"versions": versions(), "start_seconds": start_seconds, "audits": rows}
    lines = [
        f"| {name} | {row['passes_a_photo'] or 'not counted'} | {row['net_seconds']:.1f} | {row['ratio']:.2f} |"
        for name, row in rows.items()
    ]
    table = "\n".join(["| audit | forward passes a photo | CPU seconds | ratio |", "|---|---:|---:|---:|", *lines])
    head = f"# Budgets of an audit\n\n`{command}`: {count} photos, one thread, CPU time without start and loading."
    text = f"{head} `older` is the audit before budgets.\n\n{table}\n"
    write_dated("audit_speed", record, text, given.out)


if __name__ == "__main__":
    main()
