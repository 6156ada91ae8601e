"""The ``report`` command."""

from __future__ import annotations

from pathlib import Path

from robustvit.common.errors import UserError
from robustvit.common.files import write_text
from robustvit.common.output_paths import check_own_page

_MARK = "robustvit-report"


def report(run: str, *, out: str | None = None) -> Path:
    """Write the report of a finetuning run: verdict, table, curves, panels and settings in one HTML file.

    The file is self-contained: pictures are embedded, and nothing is loaded from elsewhere. The report of a run that
    was tracked with wandb or mlflow is also logged there.

    Args:
        run: run folder of finetune.
        out: HTML file to write; default: report.html in the run folder.

    Returns:
        The HTML file.

    Raises:
        UserError: the run is not finished, or out exists and is not a report.

    Example:
        robustvit report runs/mine --out report.html
    """
    from robustvit.common.run_folder import RunFolder

    folder = RunFolder(run)
    config = folder.config()
    if not folder.verdict.is_file():
        raise UserError(f"{run} is not finished: continue it with robustvit finetune ... --resume")
    path = folder.path / "report.html" if out is None else Path(out)
    check_own_page(path, _MARK, "a report")
    # Slow imports come after the checks above.
    from robustvit.sharing.report_page import render_report
    from robustvit.training.tracking import track_report

    text = render_report(folder, config, _MARK)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(text, path)
    track_report(folder, path)
    return path
