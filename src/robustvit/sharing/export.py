"""Exporting a finished run: its model in its library's own form or as ONNX, with a card that says what it is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command
from robustvit.common.option_groups import SharedForm

if TYPE_CHECKING:
    from robustvit.sharing.folder import SharedModel


@dataclass(frozen=True)
class Exported:
    """What was written, and where."""

    folder: Path
    model: SharedModel

    def __str__(self) -> str:
        lines = [f"{self.folder} ({self.model.library})"]
        lines += [f"  {name}  {size:,} bytes" for name, size in self.model.files.items()]
        if self.model.difference is not None:
            lines.append(f"largest difference of a logit from PyTorch's: {self.model.difference:.1e}")
        return "\n".join([*lines, self.model.verdict.sentence])


@command()
def export(run: str, *, to: str, form: SharedForm) -> Exported:
    """Write a finished run's model for others: weights or ONNX, with a model card and its verdict.

    The folder holds no photo and no path of this machine. The card says what the model was trained on, what its own
    test found, what it is for, its limits and the licence of the model that it was made from, as far as known.

    Args:
        run: run folder that finetune wrote.
        to: folder to write; must be new or empty.

    Returns:
        The folder and what is in it.

    Raises:
        UserError: no finished run there, a folder that is not empty, a model that has not this form.

    Example:
        robustvit export runs/mine --to shared/mine
    """
    from robustvit.common.files import check_own_folder
    from robustvit.common.run_folder import RunFolder

    RunFolder(run).config()  # before what takes seconds to import
    from robustvit.sharing.folder import finished, new_folder, write_shared

    folder = Path(to)
    found, verdict = finished(run)
    check_own_folder(folder, option="--to")
    with new_folder(folder) as fresh:
        model = write_shared(found, verdict, fresh, form.format, license=form.license)
    return Exported(folder, model)
