"""The interface of a library of models: load by name, save to a folder, load it again."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from huggingface_hub.errors import LocalEntryNotFoundError
from safetensors.torch import save_file
from timm.data import ImageNetInfo
from torch import Tensor, nn

from robustvit.common.errors import UserError, causes_of
from robustvit.common.files import write_json
from robustvit.common.options import HeadKind
from robustvit.common.photo_options import PixelOptions
from robustvit.models.classifier import Classifier, Preprocessing
from robustvit.models.heads import classes_of, count_head_classes
from robustvit.models.weights import load_weights


@dataclass(frozen=True)
class Wanted:
    """How a model should be loaded.

    Attributes:
        state: weights from a checkpoint.
        checkpoint: the file of the checkpoint.
        pretrained: whether to load the published weights.
        class_names: the classes of a zero-shot model.
        headless: only features are needed: the head may be missing, and images may have any size if the library
            supports that.
        replaced: names of weights that an adapter replaces, which the published weights may lack.
    """

    num_classes: int | None = None
    state: dict[str, Tensor] | None = None
    checkpoint: str | None = None
    pretrained: bool = True
    class_names: tuple[str, ...] | None = None
    headless: bool = False
    input_size: tuple[int, int] | None = None
    replaced: frozenset[str] = frozenset()

    @property
    def classes(self) -> int | None:
        """Number of classes of the head: as given, or read from the weights, or None."""
        if self.num_classes is not None or self.state is None:
            return self.num_classes
        return count_head_classes(self.state)


@dataclass(frozen=True)
class Loaded:
    """A network with its preprocessing and class names.

    Attributes:
        network: maps normalised images to logits.
        preprocessing: read from the network when left out.
        class_names: one per logit, if known.
        guessed: whether the preprocessing is that of the family, as the weights come without settings.
        pixels: how the photos that it was finetuned on were read.
        head: what its outputs mean, if that is recorded.
    """

    network: nn.Module
    preprocessing: Preprocessing | None = None
    class_names: tuple[str, ...] = ()
    guessed: bool = False
    pixels: PixelOptions = field(default_factory=PixelOptions)
    head: HeadKind | None = None


class Library:
    """Base of the libraries, and the library of modules given from Python."""

    name = "module"

    def owns(self, network: nn.Module) -> bool:
        """Whether a network belongs to this library, and can be rebuilt by it."""
        return True

    def load(self, name: str, wanted: Wanted) -> Loaded:
        """Load a model by its name in the library, or from a folder in the library's format."""
        raise UserError(f"expected the name of a model, got {name!r}: load your own module and give that")

    def rebuild(self, folder: Path, config: dict[str, Any]) -> nn.Module:
        """Build the network that ``save`` described in ``config``; its weights are loaded later."""
        raise UserError(
            f"{folder} holds the weights of {config.get('architecture')}, a module given from Python: load your own "
            f"module, then load_model(module, checkpoint={str(folder / 'model.safetensors')!r})"
        )

    def load_state(self, network: nn.Module, state: dict[str, Tensor], origin: str | Path) -> None:
        """Load a complete state dict; refuse one that does not fit, and change nothing then."""
        load_weights(network, state, origin)

    def class_names(self, network: nn.Module) -> tuple[str, ...]:
        """Return names stored with a network, one per logit, or ImageNet's for 1,000 classes, or none."""
        return imagenet_names(classes_of(network))

    def head_kind(self, network: nn.Module) -> HeadKind | None:
        """Return what the outputs mean according to the network's settings, or None."""
        return None

    def describe(self, network: nn.Module) -> dict[str, Any]:
        """Return what ``rebuild`` needs: ``architecture`` and ``model_args``."""
        return {"architecture": type(network).__name__}

    def own_head(self, network: nn.Module) -> list[list[Any]] | None:
        """Return the description of a head that replaced the library's, or None; see ``describe_head``."""
        return None

    def save(self, classifier: Classifier, folder: Path) -> None:
        """Write ``model.safetensors`` and ``config.json`` into an empty folder."""
        save_file(separate_weights(classifier.network), folder / "model.safetensors", metadata={"format": "pt"})
        config = {"library": self.name, **self.describe(classifier.network), "num_classes": classifier.outputs}
        config["preprocessing"] = asdict(classifier.preprocessing)
        config["label_names"] = list(classifier.class_names)
        if (own_head := self.own_head(classifier.network)) is not None:
            config["own_head"] = own_head
        write_json(config, folder / "config.json")


def separate_weights(network: nn.Module) -> dict[str, Tensor]:
    """Return a state dict that safetensors accepts: on the CPU, contiguous, no two weights sharing memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in network.state_dict().items()}


def imagenet_names(classes: int) -> tuple[str, ...]:
    """Return ImageNet's names for 1,000 classes, else none."""
    return first_imagenet_names() if classes == 1000 else ()


def first_imagenet_names() -> tuple[str, ...]:
    """Return the first synonym of each of ImageNet's 1,000 classes; two of the names occur twice."""
    info = ImageNetInfo()
    return tuple(info.index_to_description(index).split(",")[0] for index in range(1000))


@contextmanager
def readable_errors(name: str, way_out: str) -> Iterator[None]:
    """Turn errors of libraries and the hub while a model is loaded into one line that says what to do."""
    disabled = logging.root.manager.disable
    logging.disable(logging.ERROR)  # retries and copies of the error would bury the one line that matters
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        lines = (str(error).strip() or type(error).__name__).splitlines()
        reason = " ".join(map(str.strip, lines[: 1 + lines[0].endswith(":")]))
        if any(isinstance(cause, LocalEntryNotFoundError) for cause in causes_of(error)):  # open_clip wraps it
            raise UserError(
                f"cannot fetch the weights of {name}, which are not in the cache, because the hub does not answer: "
                f"check the network, or give {way_out}"
            ) from error
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
    """Refuse a number of classes that the published weights do not have."""
    if wanted is not None and stored not in (None, wanted):
        raise UserError(
            f"the weights of {name} have a head of {stored} classes, not {wanted}: finetune it to your classes "
            "first, or give such weights with --checkpoint"
        )
