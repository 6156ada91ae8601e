"""Which relevance method to believe for the embedded model: deletion and insertion on its test scenes.

    python -m benchmarks.zoo.faithfulness

Half of the scenes show a symbol on its usual background, half on another one. Writes a dated file, from which
docs/reference/zoo.md is made; ``robustvit faithfulness`` does the same for your model and photos.
"""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from datetime import date
from importlib.resources import as_file, files
from pathlib import Path

from benchmarks.dated import parser_of, write_dated
from robustvit import faithfulness
from robustvit.common.provenance import versions
from robustvit.data.embedded.scenes import write_split


def main() -> None:
    parser = parser_of(__doc__, out=False)
    parser.add_argument("--per-class", type=int, default=2, help="scenes of each kind and class")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, as_file(files("robustvit.data.embedded") / "model") as model:
        scenes = Path(place) / "scenes"
        for name, swapped in (("usual", False), ("swapped", True)):
            write_split(scenes / name, args.per_class, seed=3, part="test", swapped=swapped)
            for found in sorted((scenes / name / "images").rglob("*.*")):
                target = scenes / "all" / found.parent.name / f"{name}-{found.name}"
                target.parent.mkdir(parents=True, exist_ok=True)
                found.rename(target)
        result = faithfulness(model=f"local-dir:{model}", images=str(scenes / "all"), device="cpu")
    scores = {
        name: {"deletion": asdict(score.deletion), "insertion": asdict(score.insertion)}
        for name, score in result.scores.items()
    }
    record = {
        "date": date.today().isoformat(),
        "command": "python -m benchmarks.zoo.faithfulness",
        "model": "embedded model",
        "photos": len(result.photos),
        "scores": scores,
        "unsupported": result.unsupported,
        "sanity": None if result.sanity is None else asdict(result.sanity),
        "versions": versions(),
    }
    write_dated("zoo_faithfulness", record)
    print(result)


if __name__ == "__main__":
    main()
