"""Audit a model without training anything: does it look at the background? One page and one record are written.

Replace model by the name or folder of your own, and images and masks by photos that it was not trained on.
"""

from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from robustvit import audit
from robustvit.data.embedded.scenes import write_split

with TemporaryDirectory() as folder:
    write_split(folder, 2, seed=3, part="test")
    found = audit(
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
    print(f"{found.reliance}: {found.found.model.verdict.sentence}")
    print(f"page of {Path(found.page).stat().st_size // 1000} kB, record {Path(found.record).name}")
