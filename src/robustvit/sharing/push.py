"""Push the model of a finished run to the Hugging Face hub, in the form that export writes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.command_options import command
from robustvit.common.errors import UserError
from robustvit.common.frames import FrameRow, Tabular
from robustvit.common.option_groups import SharedForm

if TYPE_CHECKING:
    from robustvit.sharing.folder import SharedModel


@dataclass(frozen=True)
class Pushed(Tabular):
    """A pushed model and its page on the hub."""

    url: str
    model: SharedModel

    def frame_rows(self) -> Iterator[FrameRow]:
        """A row for each file."""
        yield from ({"file": name, "bytes": size} for name, size in self.model.files.items())

    def __str__(self) -> str:
        return f"{self.url}: {', '.join(self.model.files)}\n{self.model.verdict.sentence}"


@command()
def push(
    run: str,
    name: str,
    *,
    form: SharedForm,
    private: bool = False,
    revision: str | None = None,
    anyway: bool = False,
) -> Pushed:
    """Push the model of a finished run to the Hugging Face hub: weights or ONNX, with a model card and its verdict.

    Pushes exactly what export writes: no photos, no panels, no paths of this machine. Log in with hf auth login or set
    HF_TOKEN; HF_ENDPOINT sets another hub.

    Args:
        run: run folder of finetune.
        name: repository, OWNER/NAME; created if missing.
        private: make a new repository private.
        revision: branch to push to, created if missing; default: the main branch.
        anyway: push even if the verdict says to keep the original; the card says so.

    Returns:
        The page of the model and the files pushed.

    Raises:
        UserError: the run is not finished, its verdict says to keep the original, or the hub cannot be reached or
            refuses.

    Example:
        robustvit push runs/mine me/my-vit --private
    """
    import tempfile

    from robustvit.common.run_folder import RunFolder

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        raise UserError(f"expected the repository as OWNER/NAME, got {name!r}: for example me/my-vit")
    RunFolder(run).config()  # before slow imports
    from robustvit.sharing.folder import read_finished, write_shared

    source, verdict = read_finished(run)
    if not verdict.accepted and not anyway:
        raise UserError(
            f"{run} is not pushed, because of its verdict: {verdict.sentence} To push it nevertheless, add --anyway; "
            "the card will say so"
        )
    with tempfile.TemporaryDirectory() as parent:
        folder = Path(parent)
        model = write_shared(source, verdict, folder, form.format, license=form.license, name=name)
        url = _upload(folder, name, list(model.files), private, revision)
    return Pushed(url, model)


def _upload(folder: Path, name: str, files: list[str], private: bool, revision: str | None) -> str:
    """Upload the files in one commit; errors become one line."""
    import sys

    from huggingface_hub import HfApi, utils

    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    hub = HfApi(library_name="robustvit")
    try:
        page = hub.create_repo(name, private=private or None, exist_ok=True)
        if revision is not None:
            hub.create_branch(name, branch=revision, exist_ok=True)
        hub.upload_folder(
            repo_id=name,
            folder_path=folder,
            allow_patterns=files,
            revision=revision,
            commit_message="Model finetuned with robustvit, with its verdict",
        )
    except Exception as error:  # the hub's client has changed its network library, and so its errors, twice
        raise _refusal(error, name, hub.endpoint) from error
    return str(page)


def _refusal(error: Exception, name: str, endpoint: str) -> UserError:
    """Reduce an error of the hub's client to one line that says how to fix it."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, LocalTokenNotFoundError) or status in (401, 403):
        return UserError(f"cannot push to {name}: {line}; log in with hf auth login and a token that can write there")
    if isinstance(error, HfHubHTTPError):
        return UserError(f"cannot push to {name}, the hub refuses: {line}; see its page, or try again later")
    if isinstance(error, ValueError):  # the hub rejects the name or the card
        return UserError(f"cannot push to {name}: {' '.join(str(error).split())}")
    return UserError(
        f"cannot reach {endpoint} ({type(error).__name__}: {line}): check the network, or write the same files with "
        "robustvit export and push them later"
    )
