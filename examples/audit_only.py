"""Audit a model without training: does it look at the background? Writes a page and a record.

Replace model with the name or folder of your model, and images and masks with photos that it was not trained on.
"""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from robustvit import audit
from robustvit.data.embedded.scenes import write_split

with TemporaryDirectory() as folder:
    write_split(folder, 2, seed=3, part="test")
    result = audit(
        model=f"local-dir:{files('robustvit.data.embedded') / 'model'}",
        images=f"{folder}/images",
        masks=f"{folder}/masks",
        out=f"{folder}/audit.html",
        swaps=1,
        tries=2,
        shifted=4,
        groups=2,
        worst=2,
    )
    print(f"{result.reliance}: {result.found.model.verdict.sentence}")
    print(f"page of {Path(result.page).stat().st_size // 1000} kB, record {Path(result.record).name}")
