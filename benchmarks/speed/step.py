"""What guidance costs: time and memory of guided steps as ratios to plain ones, measured in one run.

    python -m benchmarks.speed.step [--model vit_small_patch16_224] [--batch 8] [--size 224] [--rounds 7] [--out FOLDER]
    python -m benchmarks.speed.step --model vit_small_patch14_dinov2 --batch 2 --size 518 \\
        --steps \"plain step\" \"first order\"
    python -m benchmarks.speed.step --tokens 196 400 784 1369 --batch 2

Every round runs each kind of step a few times in a row, the first of them untimed; a ratio is the median over rounds.
Memory is the peak of a fresh process that does nothing else (Linux). ``--tokens`` shows how the cost grows with the
number of tokens, as a table and a plot. Writes dated files.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch
from matplotlib.figure import Figure

from benchmarks.dated import command_words, parser_of
from benchmarks.speed.steps import STEPS, Bench
from robustvit.common.files import write_json, write_text
from robustvit.common.provenance import versions

BASE = {"relevance map": "plain forward", "plain forward": "plain forward"}


def times(bench: Bench, steps: list[str], rounds: int, inner: int = 3) -> dict[str, list[float]]:
    """Seconds of each kind of step, one mean per round."""
    found: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name in steps:
            STEPS[name](bench)
            start = time.perf_counter()
            for _ in range(inner):
                STEPS[name](bench)
            found[name].append((time.perf_counter() - start) / inner)
    return found


def peak_memory(args: argparse.Namespace, step: str) -> float:
    """Peak memory in GB of a fresh process that makes three such steps."""
    words = [
        sys.executable,
        "-m",
        "benchmarks.speed.step",
        "--model",
        args.model,
        "--batch",
        args.batch,
        "--size",
        args.size,
    ]
    done = subprocess.run([*map(str, words), "--worker", step], capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def worker(args: argparse.Namespace) -> None:
    bench = Bench.of(args.model, args.batch, args.size)
    for _ in range(3):
        STEPS[args.worker](bench)
    # Not getrusage: what the parent process used at its peak would count too.
    status = Path("/proc/self/status").read_text()
    print(int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024**2)


def compare(args: argparse.Namespace) -> dict:
    """Times, ratios and memory of every kind of step."""
    measured = times(Bench.of(args.model, args.batch, args.size), args.steps, args.rounds) if args.rounds else {}
    rows = {}
    for name in args.steps:
        seconds, base = measured.get(name), measured.get(BASE.get(name, "plain step"))
        ratios = [a / b for a, b in zip(seconds, base, strict=True)] if seconds and base else None
        rows[name] = {
            "seconds": seconds and statistics.median(seconds),
            "ratio": ratios and statistics.median(ratios),
            "ratios": ratios,
            "memory_gb": None if args.skip_memory else peak_memory(args, name),
        }
        print(name, json.dumps({k: v for k, v in rows[name].items() if k != "ratios"}), flush=True)
    return rows


def growth(args: argparse.Namespace) -> dict:
    """Seconds of a plain and a guided step as the number of tokens grows."""
    rows = {}
    for tokens in args.tokens:
        size = 16 * round(tokens**0.5)
        measured = times(Bench.of(args.model, args.batch, size), ["plain step", "first order"], args.rounds)
        ratio = statistics.median(a / b for a, b in zip(measured["first order"], measured["plain step"], strict=True))
        rows[tokens] = {name: statistics.median(seconds) for name, seconds in measured.items()} | {"ratio": ratio}
        print(tokens, rows[tokens], flush=True)
    return rows


def plot(rows: dict, path: Path) -> None:
    figure = Figure(figsize=(5, 3.4), layout="constrained")
    axes = figure.subplots()
    for name in ("plain step", "first order"):
        axes.plot(list(rows), [row[name] for row in rows.values()], marker="o", label=name)
    axes.set(xlabel="patches in an image", ylabel="seconds per step", xscale="log", yscale="log")
    axes.set_xticks(list(rows), [str(tokens) for tokens in rows])
    axes.xaxis.set_minor_formatter("")  # its own labels would lie over these
    axes.legend()
    figure.savefig(path, dpi=110)


def as_markdown(record: dict, picture: str) -> str:
    lines = [f"# Cost of a guided step: {record['model']}, {record['date']}", "", f"`{record['command']}`", ""]
    lines.append(f"{record['machine']}; float32; {', '.join(' '.join(pair) for pair in record['versions'].items())}.")
    lines.append("")
    if record["steps"]:
        lines += ["| step | seconds | ratio to plain | lowest ... highest | peak memory, GB |", "|---|---|---|---|---|"]
        for name, row in record["steps"].items():
            spread = f"{min(row['ratios']):.2f} ... {max(row['ratios']):.2f}" if row["ratios"] else ""
            cells = [f"{row[key]:.2f}" if row[key] else "" for key in ("seconds", "ratio", "memory_gb")]
            lines.append(f"| {name} | {cells[0]} | {cells[1]} | {spread} | {cells[2]} |")
        lines += ["", "A map is compared with a plain forward pass, every step with a plain step."]
    if record["growth"]:
        lines += ["| patches | plain step, s | guided step, s | ratio |", "|---|---|---|---|"]
        for tokens, row in record["growth"].items():
            lines.append(f"| {tokens} | {row['plain step']:.2f} | {row['first order']:.2f} | {row['ratio']:.2f} |")
        lines += ["", f"![seconds per step against patches]({picture})"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = parser_of(__doc__)
    parser.add_argument("--model", default="vit_small_patch16_224")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=7, help="0 measures memory alone")
    parser.add_argument("--skip-memory", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=list(STEPS))
    parser.add_argument("--tokens", nargs="+", type=int, default=[])
    parser.add_argument("--worker", choices=STEPS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.worker:
        worker(args)
        return
    words = command_words()
    record = {
        "date": date.today().isoformat(),
        "command": " ".join(["python", *(f'"{word}"' if " " in word else word for word in words)]),
        "model": args.model,
        "machine": f"{platform.machine()}, {args.threads} threads",
        "versions": {name: versions()[name] for name in ("python", "torch", "timm", "robustvit")},
        "steps": {} if args.tokens else compare(args),
        "growth": growth(args) if args.tokens else {},
    }
    kind = "tokens" if args.tokens else f"{args.batch}x{args.size}"
    kind += "" if args.rounds else "-memory"
    name = f"step-{args.model}-{kind}-{record['date']}"
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(record, args.out / f"{name}.json")
    write_text(as_markdown(record, f"{name}.png"), args.out / f"{name}.md")
    if record["growth"]:
        plot(record["growth"], args.out / f"{name}.png")


if __name__ == "__main__":
    main()
