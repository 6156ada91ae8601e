"""Modules given from Python: the network in them, how photos are prepared for it, and what it returns."""

from __future__ import annotations

import copy
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.models.families import Readout
from robustvit.models.forward_pass import ForwardPass, describe_channels, measure_readout, run_on_noise
from robustvit.models.given_preprocessing import GivenPreprocessing
from robustvit.models.heads import classes_of, describe_head, replace_head
from robustvit.models.kinds import channels_of, find_inside, is_known, is_torchvision, made_by
from robustvit.models.outputs import OutputKind, output_kind
from robustvit.models.preprocessing import Preprocessing
from robustvit.models.unwrap import copy_shallow, unwrap


@dataclass(frozen=True)
class GivenModule:
    """A network as the rest of the package takes it: without wrappers, and if possible without the module around it.

    ``readout`` are the tokens that a custom head reads, if the network inside is a vision transformer.
    """

    network: nn.Module
    preprocessing: Preprocessing
    classes: int
    kind: OutputKind = "logits"
    readout: Readout | Literal["unclear"] | None = None


def read_module(
    network: nn.Module, given: GivenPreprocessing, own: Preprocessing | None = None, *, exact: bool = False
) -> GivenModule:
    """Take off wrappers and find out, with one forward pass, how to use a network that maps images to logits.

    Args:
        network: the module.
        given: the user's settings of its preprocessing.
        own: its preprocessing, if that is known.
        exact: whether ``own`` is the preprocessing of the module itself, not of the network inside.
    """
    network = unwrap(network)
    if any(weight.dtype == torch.float64 for weight in network.parameters()):
        network = copy.deepcopy(network).float()
    network = _find_model_of_lightning(network)
    if is_known(network):
        check_channels(network)
    own = given.apply(own) or Preprocessing.of(network)
    own, seen = _run_either(network, own)
    inside, readout = list(find_inside(network)), None
    if len(inside) == 1 and inside[0] is not network:
        own = own if exact else _compensate(network, inside[0], seen, own, given)
        simple = _simplify(network, inside[0], seen, own)
        readout = measure_readout(network, seen) if simple is network else None
        network = simple
    kind = output_kind(seen.logits)
    return GivenModule(network, own, seen.logits.shape[1], kind, readout)


def check_channels(network: nn.Module) -> None:
    """Refuse a library's network that takes images of other than one or three channels."""
    if (channels := channels_of(network)) not in (1, 3):
        raise UserError(describe_channels(network, channels))


def _run_either(network: nn.Module, own: Preprocessing) -> tuple[Preprocessing, ForwardPass]:
    """Run a network on noise of three channels, or on grey noise if it takes that alone."""
    colours = own.with_channels(3)
    if channels_of(network) != 1:
        return colours, run_on_noise(network, colours)
    try:
        return colours, run_on_noise(network, colours)
    except UserError:
        grey = own.with_channels(1)
        return grey, run_on_noise(network, grey)


def _find_model_of_lightning(network: nn.Module) -> nn.Module:
    """Return the model that a LightningModule without a forward pass holds."""
    if not made_by(network, "lightning") and not made_by(network, "pytorch_lightning"):
        return network
    defined = next(kind for kind in type(network).__mro__ if "forward" in vars(kind))
    inside = list(find_inside(network))
    if not defined.__module__.startswith(("lightning.", "pytorch_lightning.", "torch.")) or len(inside) != 1:
        return network
    warn(f"{type(network).__name__} has no forward: the {type(inside[0]).__name__} in it is used")
    return inside[0]


def _compensate(
    network: nn.Module, inside: nn.Module, seen: ForwardPass, own: Preprocessing, given: GivenPreprocessing
) -> Preprocessing:
    """Return the preprocessing after which the network inside receives images as its settings say.

    A module may normalise images itself, from [0, 1] or from 0 to 255.
    """
    received = seen.received_by(inside)
    if received is seen.images or (given.mean is not None and given.std is not None):
        return own
    scale = None if received is None else _fit_scale(seen.images.detach(), received.detach())
    if scale is None:
        raise UserError(
            f"{type(network).__name__} changes its images before its {type(inside).__name__} receives them, whose "
            "settings then do not tell how photos are prepared: give --mean and --std (in Python: "
            "preprocessing={'mean': ..., 'std': ...})"
        )
    mean, std = scale
    if bool(mean.abs().max() < 1e-4) and bool((std - 1).abs().max() < 1e-4):
        return own
    wanted = torch.tensor(own.std).double() / std
    start = torch.tensor(own.mean).double() - mean * wanted
    found = replace(
        own,
        mean=tuple(round(float(value), 6) + 0.0 for value in start),
        std=tuple(float(f"{value:.6g}") for value in wanted.tolist()),
    )
    warn(f"{type(network).__name__} normalises images itself: they are prepared with {found}")
    return found


def _fit_scale(given: Tensor, received: Tensor) -> tuple[Tensor, Tensor] | None:
    """Return mean and std by which images were normalised, or None if they were changed in another way."""
    if given.shape != received.shape:
        return None
    before, after = (x.cpu().double().transpose(0, 1).flatten(1) for x in (given, received))
    spread = after.std(dim=1)
    if not bool((spread > 0).all()):
        return None
    std = before.std(dim=1) / spread
    mean = before.mean(dim=1) - std * after.mean(dim=1)
    rest = (before - mean[:, None]) / std[:, None] - after
    return (mean, std) if bool(rest.abs().amax() < 1e-3 * spread.max()) else None


def _simplify(network: nn.Module, inside: nn.Module, seen: ForwardPass, own: Preprocessing) -> nn.Module:
    """Return the network inside if the module only passes images and logits through, or puts a head on it."""
    if seen.received_by(inside) is not seen.images:
        return network
    call = next((one for one in seen.calls if one.module is inside), None)
    if call is None:
        return network
    if any(seen.logits is one for one in _tensors(call.returned)):
        return inside
    if made_by(inside, "transformers") or not isinstance(call.returned, Tensor) or classes_of(inside):
        return network
    layers = _layers_between(call.returned, seen)
    head = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
    if not layers or describe_head(head) is None:
        return network
    joined = _with_head(inside, head, seen.logits.shape[1])
    try:
        again = run_on_noise(joined, own)
    except UserError:
        return network
    return joined if torch.equal(again.logits, seen.logits) else network


def _tensors(output: object) -> list[Tensor]:
    logits = getattr(output, "logits", output)
    return [one for one in (logits if isinstance(logits, tuple) else (logits,)) if isinstance(one, Tensor)]


def _layers_between(start: Tensor, seen: ForwardPass) -> list[nn.Module]:
    """Return the layers from a backbone's features to the logits; none if other operations lie between."""
    layers: list[nn.Module] = []
    current, left = start, [call for call in seen.calls if call.received and not list(find_inside(call.module))]
    while current is not seen.logits:
        position = next((at for at, call in enumerate(left) if call.received[0] is current), None)
        if position is None or not isinstance(left[position].returned, Tensor):
            return []
        call = left[position]
        left = left[position + 1 :]
        if isinstance(call.module, nn.Sequential):
            continue  # its layers were called before it
        layers.append(call.module)
        current = call.returned  # type: ignore[assignment]
    return layers


def _with_head(backbone: Any, head: nn.Module, classes: int) -> nn.Module:
    """Return a copy of a backbone that ends in a head; weights are shared."""
    joined = copy_shallow(backbone)
    if is_torchvision(backbone) and hasattr(backbone, "heads"):
        joined.heads = nn.Sequential(OrderedDict(head=head)) if isinstance(head, nn.Linear) else head
    else:
        replace_head(joined, head)
    joined.num_classes = classes
    return joined
