"""Reading untrusted YAML: no code in it runs, and its aliases cannot fill the memory."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any

import yaml

from robustvit.common.errors import UserError, did_you_mean

_LARGEST = 10_000_000  # bytes
_MOST_VALUES = 100_000  # with aliases expanded: nine lines can stand for billions


def read_mapping(path: str | Path) -> dict[Any, Any]:
    """Read a YAML file that holds a mapping, without running code in it."""
    try:
        raw = Path(path).read_bytes()
        if len(raw) > _LARGEST:
            raise UserError(f"refused to read {path}: it has {len(raw):,} bytes, options need less than {_LARGEST:,}")
        found = yaml.safe_load(raw.decode("utf-8-sig"))
    except UserError:
        raise
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UserError(f"cannot read {path}: {reason}; name a YAML file") from error
    except RecursionError as error:
        raise UserError(f"cannot read {path} as YAML: it is nested too deeply") from error
    except (yaml.YAMLError, ValueError, TypeError, AttributeError) as error:  # impossible dates, odd keys
        reason = " ".join(str(error).split())[:300]
        raise UserError(f"cannot read {path} as YAML: {reason}") from error
    if not isinstance(found, dict):
        raise UserError(f"expected {path} to hold options, one `name: value` a line, got {type(found).__name__}")
    _refuse_growth(found, path)
    return found


def _refuse_growth(found: object, path: str | Path) -> None:
    left = [found]
    count = 0
    while left:
        value = left.pop()
        count += 1
        if count + len(left) > _MOST_VALUES:
            raise UserError(f"refused to read {path}: its aliases stand for more than {_MOST_VALUES:,} values")
        if isinstance(value, dict):
            left.extend(value.values())
        elif isinstance(value, (list, tuple, set)):
            left.extend(value)


def check_known(given: Iterable[Any], known: Collection[str], place: str) -> None:
    """Refuse unknown names, and suggest the nearest known one."""
    for name in given:
        if name not in known:
            hint = did_you_mean(str(name), known, cutoff=0.4) or f"expected one of {', '.join(sorted(known))}"
            raise UserError(f"{place}: unknown option {str(name)[:80]!r}; {hint}")
