"""State dicts in checkpoints: which entry holds the weights, and under which names."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from robustvit.common.errors import UserError
from robustvit.common.progress import warn
from robustvit.models.quantised import refuse_quantised_state
from robustvit.models.shards import find_weights, read_weights

# Entries that hold weights, the usual first; any other that holds tensors by name is found too.
NAMES = ("state_dict", "model_state_dict", "model", "state", "model_state", "net", "network", "weights", "params")
# Words in the names of averaged weights.
_AVERAGED = frozenset({"ema", "averaged", "average", "swa", "teacher"})
_NO_WEIGHTS = re.compile(r"optim|scaler|sched|callback|loops|rng|hyper|hparams|config|averaging_state|args", re.I)
_DEEPEST = 3
_COUNTERS = frozenset({"n_averaged", "num_updates", "initted", "step"})


class AverageAsked(UserError):
    """A checkpoint holds weights and their average (``FILE#ENTRY``), and nothing says which are meant."""

    def __init__(self, file: object, others: str, average: str) -> None:
        super().__init__(
            f"{file} holds weights ({others}) and their average ({average}): choose one with --checkpoint "
            f"{file}#{average} (timm's programs take the average) or {file}#{others.split(', ')[0]}"
        )
        self.average = f"{file}#{average}"


def split_entry(checkpoint: str | Path) -> tuple[Path, str | None]:
    """Return the file of ``FILE`` or ``FILE#ENTRY``, and the entry."""
    path = Path(checkpoint)
    name, mark, entry = str(checkpoint).rpartition("#")
    return (Path(name), entry) if mark and not path.exists() else (path, None)


def read_checkpoint(checkpoint: str | Path) -> dict[str, Tensor]:
    """Read the state dict in a file of safetensors or PyTorch, in several files with an index, or in a folder of these.

    Nothing in them is executed. It may be nested under any name; ``FILE#ENTRY`` takes the entry of that name, or the
    weights whose names begin with it.
    """
    path, wanted = split_entry(checkpoint)
    path = find_weights(path)
    loaded = read_weights(path)
    found = dict(_entries(loaded)) if isinstance(loaded, Mapping) else {}
    if wanted is None and not found:
        raise UserError(_none_found(loaded, path))
    state = found[_choose(found, path)] if wanted is None else _take_entry(found, wanted, path)
    refuse_quantised_state(state, path)
    return in_float32(state, path)


def _take_entry(found: Mapping[str, dict[str, Tensor]], wanted: str, path: Path) -> dict[str, Tensor]:
    """Return the state dict of a name, or the weights of another state dict whose names begin with it."""
    if wanted in found:
        return found[wanted]
    for state in found.values():
        start = f"{wanted}."
        if inside := {name: one for name, one in state.items() if name.startswith(start)}:
            return inside
    known = ", ".join(filter(None, found)) or "none"
    raise UserError(f"expected the weights of {path} under {wanted!r}, its entries with weights are: {known}")


def in_float32(state: dict[str, Tensor], origin: str | Path) -> dict[str, Tensor]:
    """Return a state dict in float32, with a warning if weights are of 16 bits."""
    halves = {one.dtype for one in state.values()} & {torch.float16, torch.bfloat16}
    if not halves:
        return state
    say_float32(halves, origin)
    return {name: one.float() if one.dtype in halves else one for name, one in state.items()}


def say_float32(types: Iterable[torch.dtype], origin: object) -> None:
    """Say that weights of 16 bits are converted."""
    named = ", ".join(sorted(str(one).removeprefix("torch.") for one in types))
    warn(f"{origin} holds weights in {named}: they are computed, trained and saved in float32")


def _none_found(loaded: object, path: Path) -> str:
    held = f" ({', '.join(map(str, list(loaded)[:8]))})" if isinstance(loaded, Mapping) and loaded else ""
    return f"expected a state dict of tensors in {path}, found none{held}: save model.state_dict() there"


def _entries(loaded: Mapping[Any, Any], place: str = "", depth: int = 0) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Yield every state dict in a checkpoint, with the names that lead to it, joined by dots."""
    weights = {name: one for name, one in loaded.items() if isinstance(name, str) and isinstance(one, Tensor)}
    if any(one.is_floating_point() and one.ndim for one in weights.values()):
        yield place, weights
        return
    if depth < _DEEPEST:
        for name, one in loaded.items():
            if isinstance(name, str) and isinstance(one, Mapping) and not _NO_WEIGHTS.search(name):
                yield from _entries(one, f"{place}.{name}".lstrip("."), depth + 1)


def is_averaged(name: str) -> bool:
    """Whether a name is that of averaged weights."""
    return not _AVERAGED.isdisjoint(re.split(r"[^a-z0-9]+", name.lower()))


def _choose(found: Collection[str], path: Path) -> str:
    """Return the entry to use: the only entry, or the usual entry if none is an average of it."""
    if len(found) == 1:
        return next(iter(found))
    averaged = [name for name in found if is_averaged(name)]
    usual = [name for name in NAMES if name in found]
    if len(averaged) == 1:
        plain = sorted(set(found) - set(averaged), key=lambda name: (name not in usual, name))
        raise AverageAsked(path, ", ".join(plain), averaged[0])
    if averaged or not usual:
        raise UserError(f"{path} holds several state dicts, {', '.join(found)}: name one of them, {path.name}#ENTRY")
    others = ", ".join(name for name in found if name != usual[0])
    warn(f"{path} holds several state dicts: {usual[0]} is used, not {others}; for these, give {path.name}#ENTRY")
    return usual[0]


def fit_names(state: dict[str, Tensor], own: Mapping[str, Tensor], origin: str | Path) -> dict[str, Tensor]:
    """Return a state dict under the names of a network.

    A prefix that the names share (``model.``, ``module._orig_mod.``, any) is removed, and weights without it are left
    out, with a warning that names them. A head under another name, or in a Sequential, becomes the network's head.
    """
    if state.keys() == own.keys():
        return state
    prefix = _find_prefix(state, own, origin)
    if prefix is None:
        return state
    fitted = {name[len(prefix) :]: one for name, one in state.items() if name.startswith(prefix)}
    beside = {name: one for name, one in state.items() if not name.startswith(prefix)}
    beside |= {name: fitted.pop(name) for name in [*fitted] if name in _COUNTERS and name not in own}
    beside = _place_head(fitted, beside, own, origin)
    if left := [name for name in beside if name.rpartition(".")[2] not in _COUNTERS]:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        warn(f"{origin}: weights that do not belong to the model are left out: {', '.join(left[:3])}{more}")
    return fitted


def list_differences(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    """Return the differences of a state dict from a network's: names that it lacks or has in addition, other shapes."""
    wrong = [f"lacks {name}" for name in own if name not in state]
    wrong += [f"has {name}" for name in state if name not in own]
    return wrong + [
        f"has {name} of shape {tuple(state[name].shape)}, not {tuple(weight.shape)}"
        for name, weight in own.items()
        if name in state and state[name].shape != weight.shape
    ]


def holds_all(state: Collection[str], own: Collection[str]) -> bool:
    """Whether a state dict has all names of a network, behind one prefix or none."""
    first = next(iter(own), "")
    prefixes = [name.removesuffix(first) for name in state if name.endswith(first)]
    return any(all(prefix + name in state for name in own) for prefix in prefixes)


def _find_prefix(state: Mapping[str, Tensor], own: Mapping[str, Tensor], origin: str | Path) -> str | None:
    """Return the prefix under which a state dict has the names of a network, or None if there is none."""
    covered: Counter[str] = Counter()
    for name in state:
        for at in [0, *(match.end() for match in re.finditer(r"\.", name))]:
            if name[at:] in own:
                covered[name[:at]] += 1
    if not covered or max(covered.values()) < len(own) / 2:
        return None
    best = [prefix for prefix, count in covered.items() if count == max(covered.values())]
    averaged = [prefix for prefix in best if is_averaged(prefix)]
    if len(best) == 1:
        return best[0]
    if not averaged and "" in best:
        return ""
    if len(averaged) != 1:
        raise UserError(f"{origin} holds weights of several models, {', '.join(best)}: save the weights of one model")
    others = [prefix.rstrip(".") or "no prefix" for prefix in best if prefix not in averaged]
    raise AverageAsked(origin, ", ".join(others), averaged[0].rstrip("."))


def _place_head(
    fitted: dict[str, Tensor], beside: dict[str, Tensor], own: Mapping[str, Tensor], origin: str | Path
) -> dict[str, Tensor]:
    """Use the only linear layer that is left over as the missing head; return the weights that are still left over."""
    missing = [name for name in own if name not in fitted]
    extra = {name: one for name, one in fitted.items() if name not in own} | beside
    linear = [name for name, one in extra.items() if one.ndim == 2 and name.endswith("weight")]
    heads = [name for name in missing if name.endswith("weight")]
    if len(linear) != 1 or len(heads) != 1 or not set(missing) <= {heads[0], heads[0].removesuffix("weight") + "bias"}:
        return beside
    theirs, ours = linear[0].removesuffix("weight"), heads[0].removesuffix("weight")
    if extra[linear[0]].shape[1:] != own[heads[0]].shape[1:]:
        return beside
    for kind in ("weight", "bias"):
        if theirs + kind in extra:
            fitted.pop(theirs + kind, None)
            fitted[ours + kind] = extra[theirs + kind]
    warn(f"{origin}: {theirs.rstrip('.')} is used as the head, {ours.rstrip('.')}")
    return {name: one for name, one in beside.items() if not name.startswith(theirs)}


def peel(state: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield a state dict, then without the first part of most names, and so on."""
    for _ in range(4):
        yield state
        first = Counter(name.partition(".")[0] for name in state).most_common(1)
        if not first or first[0][1] < 0.9 * len(state):
            return
        start = f"{first[0][0]}."
        state = {name.removeprefix(start): one for name, one in state.items() if name.startswith(start)}
