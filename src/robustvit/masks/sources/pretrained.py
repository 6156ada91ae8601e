"""Networks of transformers that make masks, from the hub or a folder, whole or not at all."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from robustvit.common.errors import UserError
from robustvit.common.extras import import_extra
from robustvit.models.libraries.library import readable_errors
from robustvit.models.libraries.transformers import quiet

if TYPE_CHECKING:
    from transformers import PreTrainedModel

_FOLDER = "a folder with its files as --model"


@contextmanager
def fetching(model: str, way_out: str = _FOLDER) -> Iterator[str]:
    """Turn errors of loading into one line; yields the model's name on the hub, or its folder."""
    name = model.removeprefix("transformers:")
    if _is_path(name) and not Path(name).is_dir():
        raise UserError(f"expected OWNER/NAME of a model on the hub or a folder with its files, found no folder {name}")
    with readable_errors(f"transformers:{name}", way_out), quiet():
        yield name


def _is_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or "\\" in name or name.count("/") != 1


def load_network(kind: type[PreTrainedModel], name: str, types: Collection[str]) -> PreTrainedModel:
    """Load a network; refuse another kind of model, and weights that lack a part of it, which would stay random.

    Args:
        kind: class of transformers.
        name: on the hub, or a folder.
        types: what ``model_type`` in its ``config.json`` may be.
    """
    found = import_extra("transformers", "transformers").AutoConfig.from_pretrained(name).model_type
    if found not in types:
        raise UserError(f"expected a model of type {' or '.join(types)} for this --method, {name} is {found}")
    network, report = kind.from_pretrained(name, output_loading_info=True)
    own = dict(network.named_parameters())
    lacking = sorted(one for one in report["missing_keys"] if one in own)
    lacking += sorted(str(one[0]) for one in report["mismatched_keys"])
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise UserError(f"the weights of {name} are not whole, they lack {lacking[0]}{more}: download them again")
    return network.eval()
