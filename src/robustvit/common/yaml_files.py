"""Reading untrusted YAML: no code in it runs, and its aliases cannot fill the memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from robustvit.common.errors import UserError, did_you_mean
from robustvit.common.files import read_bytes

_LARGEST = 10_000_000  # bytes
_MOST_VALUES = 100_000  # with aliases expanded: nine lines can stand for billions
_DEEPEST = 100  # lists within lists
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the one in C, if it exists, is about twenty times faster


def read_mapping(path: str | Path) -> dict[Any, Any]:
    """Read a YAML file that holds a mapping, without running code in it."""
    try:
        text = read_bytes(path, _LARGEST).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"cannot read {path}: {reason}; name a YAML file") from error
    try:
        said = "its aliases stand for" if _refuse_size(text) else "it holds"
        found = yaml.load(text, _Loader)
        if _count_values(found) > _MOST_VALUES:
            raise UserError(f"{said} more than {_MOST_VALUES:,} values")
    except UserError as error:
        raise UserError(f"refused to read {path}: {error}") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:  # impossible dates, odd keys
        reason = " ".join(str(error).split())[:300]
        if "nesting depth" in reason:  # the parser in C looks ahead
            reason = f"it is nested too deeply, more than {_DEEPEST} lists or mappings in one another"
        raise UserError(f"cannot read {path} as YAML: {reason}") from error
    if not isinstance(found, dict):
        raise UserError(f"expected {path} to hold options, one `name: value` a line, got {type(found).__name__}")
    return found


def _refuse_size(text: str) -> bool:
    """Refuse too many values while parsing: a list takes 200 times the memory of its text; true if it has aliases."""
    count = depth = 0
    aliases = False
    for event in yaml.parse(text, _Loader):
        count += isinstance(event, yaml.NodeEvent)
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        aliases |= isinstance(event, yaml.AliasEvent)
        if count > 2 * _MOST_VALUES:  # the keys of a mapping count too
            raise UserError(f"it holds more than {_MOST_VALUES:,} values")
        if depth > _DEEPEST:
            raise UserError(f"it is nested too deeply, more than {_DEEPEST} lists or mappings in one another")
    return aliases


def _count_values(found: object) -> int:
    """Count values as if aliases were written out, and stop beyond the limit."""
    left = [found]
    count = 0
    while left and count + len(left) <= _MOST_VALUES:
        value = left.pop()
        count += 1
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            left.extend(value)
    return count + len(left)


def check_known(given: Iterable[Any], known: Collection[str], place: str) -> None:
    """Refuse unknown names, and suggest the nearest known name."""
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known, cutoff=0.4) or f"expected one of {', '.join(sorted(known))}"
            raise UserError(f"{place}: unknown option {str(name)[:80]!r}; {hint}")
