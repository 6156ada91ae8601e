"""Export the model of a finished run, for its own library or as ONNX, with a model card."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command
from robustvit.common.former_spellings import FormerSpellings
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import SharedForm

if TYPE_CHECKING:
    from robustvit.sharing.folder import SharedModel


@dataclass(frozen=True)
class Exported(Tabular):
    """An exported model and its folder."""

    folder: Path
    model: SharedModel

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each file."""
        yield from ({"file": name, "bytes": size} for name, size in self.model.files.items())

    def __str__(self) -> str:
        lines = [f"{self.folder} ({self.model.library})"]
        lines += [f"  {name}  {size:,} bytes" for name, size in self.model.files.items()]
        if self.model.difference is not None:
            lines.append(f"largest difference from PyTorch's logits: {self.model.difference:.1e}")
        return "\n".join([*lines, self.model.verdict.sentence])


@command(formerly=FormerSpellings(renamed={"to": "out"}))
def export(run: str, *, out: str, form: SharedForm) -> Exported:
    """Export the model of a finished run: weights or ONNX, with a model card and its verdict.

    The folder contains no photos and no paths of this machine. The card describes the training data, the verdict, the
    intended use, the limits and, if known, the licence of the original model.

    Args:
        run: run folder of finetune.
        out: output folder; must be new or empty.

    Returns:
        The folder and the files in it.

    Raises:
        UserError: the run is not finished, the folder is not empty, or the model has no such format.

    Example:
        robustvit export runs/mine --out shared/mine
    """
    from robustvit.common.output_paths import check_own_folder
    from robustvit.common.run_folder import RunFolder

    RunFolder(run).config()  # before slow imports
    from robustvit.sharing.folder import new_folder, read_finished, write_shared

    folder = Path(out)
    source, verdict = read_finished(run)
    check_own_folder(folder)
    with new_folder(folder) as fresh:
        model = write_shared(source, verdict, fresh, form.format, license=form.license)
    return Exported(folder, model)
