"""What every library of models must do here: load by name, write a folder, load it again."""

from __future__ import annotations

import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from timm.data import ImageNetInfo
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.files import write_json
from robustvit.models.classifier import Classifier, Preprocessing, classes_of
from robustvit.models.weights import head_classes, load_weights


@dataclass(frozen=True)
class Wanted:
    """What a model should be loaded with.

    Attributes:
        num_classes: classes of the head, where asked for.
        state: weights from a checkpoint.
        checkpoint: its file.
        pretrained: whether to take the published weights.
        class_names: the classes that a zero-shot model chooses among.
        headless: its features are wanted, not its answers: a head may lack, and images may be of any size where the
            library can do that.
    """

    num_classes: int | None = None
    state: dict[str, Tensor] | None = None
    checkpoint: str | None = None
    pretrained: bool = True
    class_names: tuple[str, ...] | None = None
    headless: bool = False

    @property
    def classes(self) -> int | None:
        """Classes of the head: asked for, or found in the weights, or None."""
        if self.num_classes is not None or self.state is None:
            return self.num_classes
        return head_classes(self.state)


@dataclass(frozen=True)
class Loaded:
    """A network with what its library knows of it.

    Attributes:
        network: maps normalised images to logits.
        preprocessing: read from the network when left out.
        class_names: one per logit, where known.
    """

    network: nn.Module
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()


class Library:
    """Modules given from Python, and the base of the libraries."""

    name = "module"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network is this library's, and can be rebuilt by it."""
        return True

    def load(self, name: str, wanted: Wanted) -> Loaded:
        """Load a model by the library's name for it, or from a folder in the library's own form."""
        raise UserError(f"expected the name of a model, got {name!r}: load your own module and give that")

    def rebuild(self, folder: Path, config: dict[str, Any]) -> nn.Module:
        """The network that ``save`` described in ``config``, with weights still to be loaded."""
        raise UserError(
            f"{folder} holds the weights of {config.get('architecture')}, a module given from Python: load your own "
            f"module, then load_model(module, checkpoint={str(folder / 'model.safetensors')!r})"
        )

    def load_state(self, network: nn.Module, state: dict[str, Tensor], origin: str | Path) -> None:
        """Load a state dict whole; raises UserError where it does not fit, and loads nothing then."""
        load_weights(network, state, origin)

    def class_names(self, network: nn.Module) -> tuple[str, ...]:
        """Names that are stored with a network, one per logit, or ImageNet's for 1,000 classes, or none."""
        return first_imagenet_names() if classes_of(network) == 1000 else ()

    def describe(self, network: Any) -> dict[str, Any]:
        """What ``rebuild`` needs: ``architecture`` and ``model_args``."""
        return {"architecture": type(network).__name__}

    def save(self, classifier: Classifier, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json`` into an empty folder."""
        save_file(separate_weights(classifier.network), folder / "model.safetensors", metadata={"format": "pt"})
        config = {"library": self.name, **self.describe(classifier.network), "num_classes": classifier.num_classes}
        config["preprocessing"] = asdict(classifier.preprocessing)
        config["label_names"] = list(classifier.class_names)
        write_json(config, folder / "config.json")


def separate_weights(network: nn.Module) -> dict[str, Tensor]:
    """A network's state dict as safetensors takes it: on the CPU, contiguous, no two weights in the same memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}


def first_imagenet_names() -> tuple[str, ...]:
    """Return the first synonym of each of ImageNet's 1,000 classes; four of them share a name with another."""
    info = ImageNetInfo()
    return tuple(info.index_to_description(index).split(",")[0] for index in range(1000))


def imported(module: str, extra: str) -> Any:
    """Import an optional library."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{module} is not installed: pip install 'robustvit[{extra}]'") from error


@contextmanager
def readable_errors(name: str, way_out: str) -> Iterator[None]:
    """Turn what libraries and the hub raise while a model is made into one line that offers a way out."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # retries and copies of the error would bury the one line that matters
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = " ".join(map(str.strip, lines[: 1 + lines[0].endswith(":")]))
        local = Path(name.partition(":")[2] or name).is_dir()
        if local or (isinstance(error, (ValueError, TypeError, KeyError)) and not isinstance(error, OSError)):
            raise UserError(f"cannot load {name}: {reason}") from error
        raise UserError(
            f"cannot fetch the weights of {name} ({type(error).__name__}: {reason}): check the network, or give "
            f"{way_out}"
        ) from error
    finally:
        logging.disable(disabled)


def refuse_other_head(name: str, stored: int | None, wanted: int | None) -> None:
    """Refuse to make up a head that published weights do not have."""
    if wanted is not None and stored not in (None, wanted):
        raise UserError(
            f"the weights of {name} have a head of {stored} classes, not {wanted}: finetune it to your classes "
            "first, or give such weights with --checkpoint"
        )
