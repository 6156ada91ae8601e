"""Pushing a finished run's model to the hub, in the form in which it is exported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from robustvit.common.command_options import command
from robustvit.common.errors import UserError
from robustvit.common.option_groups import SharedForm

if TYPE_CHECKING:
    from robustvit.sharing.folder import SharedModel


@dataclass(frozen=True)
class Pushed:
    """What was pushed, and the page where it is now."""

    url: str
    model: SharedModel

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
    """Push a finished run's model to the hub: weights or ONNX, with a model card and its verdict.

    What is pushed is what export writes, nothing else: no photos, no panels, no paths of this machine. You are known
    to the hub by hf auth login or by the environment variable HF_TOKEN; HF_ENDPOINT names another hub.

    Args:
        run: run folder that finetune wrote.
        name: repository, OWNER/NAME; made where it does not exist.
        private: make a new repository private.
        revision: branch to push to, made where it does not exist; the main one when left out.
        anyway: push a model too whose verdict says to keep the original; its card says so.

    Returns:
        The page of the model and what was pushed.

    Raises:
        UserError: no finished run there, a verdict that says to keep the original, no login, a hub that cannot be
            reached or refuses.

    Example:
        robustvit push runs/mine me/my-vit --private
    """
    import tempfile

    from robustvit.common.run_folder import RunFolder

    if not re.fullmatch(r"[\w.-]+/[\w.-]+", name, re.ASCII):
        raise UserError(f"expected the repository as OWNER/NAME, got {name!r}: name one such as me/my-vit")
    RunFolder(run).config()  # before what takes seconds to import
    from robustvit.sharing.folder import finished, write_shared

    found, verdict = finished(run)
    if not verdict.accepted and not anyway:
        raise UserError(
            f"{run} is not pushed, for its verdict is: {verdict.sentence} Push it with --anyway if you mean to; its "
            "card will say so"
        )
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model = write_shared(found, verdict, folder, form.format, license=form.license, name=name)
        url = _upload(folder, name, list(model.files), private, revision)
    return Pushed(url, model)


def _upload(folder: Path, name: str, files: list[str], private: bool, revision: str | None) -> str:
    """One commit with these files; says in one line what the hub says in many."""
    import sys

    from huggingface_hub import HfApi, utils

    if not sys.stderr.isatty():
        utils.disable_progress_bars()
    hub: Any = HfApi(library_name="robustvit")
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
    """The one line that is in an error of the hub's client, and the way out."""
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    line = (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
    status = getattr(getattr(error, "response", None), "status_code", None)
    if isinstance(error, LocalTokenNotFoundError) or status in (401, 403):
        return UserError(f"cannot push to {name}: {line}; log in with hf auth login, with a token that may write there")
    if isinstance(error, HfHubHTTPError):
        return UserError(f"cannot push to {name}, the hub refuses: {line}; see its page, or try again later")
    if isinstance(error, ValueError):  # the hub's judgement of the name or the card
        return UserError(f"cannot push to {name}: {' '.join(str(error).split())}")
    return UserError(
        f"cannot reach {endpoint} ({type(error).__name__}: {line}): check the network, or write the same files with "
        "robustvit export and push them later"
    )
