"""The error that a user can cause, checks of options that raise it, suggestions of similar names, printable text."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType

_LARGEST = 2**63 - 1  # the largest integer of PyTorch and NumPy
_RAW = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)  # see printable


class UserError(ValueError):
    """A mistake in the user's input. The message is one line, and the command line prints nothing else."""


_called: ContextVar[Mapping[str, str]] = ContextVar("_called", default=MappingProxyType({}))


@contextmanager
def rename_options(names: Mapping[str, str]) -> Iterator[None]:
    """Rename options in the messages of a command that another calls, such as ``{"--out": "--masks-out"}``."""
    token = _called.set(names)
    try:
        yield
    except UserError as error:
        raise UserError(with_renamed_options(str(error))) from error
    finally:
        _called.reset(token)


def with_renamed_options(text: str) -> str:
    """Return a message with the options named as in the calling command; see ``rename_options``."""
    names = _called.get()
    return re.sub(r"--[a-z][a-z-]*[a-z]", lambda found: names.get(found[0], found[0]), text) if names else text


def option_name(parameter: str) -> str:
    """Return an option as it is typed: ``--max-drop`` for ``max_drop``, ``--from`` for ``from_``."""
    return "--" + parameter.rstrip("_").replace("_", "-")


def causes_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the chain of its causes; each once, as an error may be its own cause."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__


def expect_at_least(least: float, **options: float) -> None:
    """Refuse options of a command, by their names in Python, that are below ``least``, infinite or NaN.

    Integers of more than 63 bits are refused too: no library takes them.
    """
    for name, value in options.items():
        if isinstance(value, int) and value > _LARGEST:
            raise UserError(f"expected {option_name(name)} of at most {_LARGEST}, got {str(value)[:30]}")
        if not least <= value < math.inf:
            raise UserError(f"expected {option_name(name)} of at least {least}, got {value}")


def expect_points(**options: float) -> None:
    """Refuse options of a command, by their names in Python, that are not percentage points from 0 to 100."""
    expect_at_least(0, **options)
    for name, value in options.items():
        if value > 100:
            raise UserError(f"expected {option_name(name)} in points, from 0 to 100, got {value}")


def expect_share(**options: float | None) -> None:
    """Refuse options of a command, by their names in Python, that are given and are not from 0 to 1."""
    for name, value in options.items():
        if value is not None and not 0 <= value <= 1:
            raise UserError(f"expected {option_name(name)} from 0 to 1, got {value}")


def expect_one_of(name: str, value: object, allowed: Collection[str]) -> None:
    """Refuse a value of the option ``name`` that is not among those allowed, and suggest the nearest."""
    if value not in allowed:
        hint = did_you_mean(str(value), allowed)
        text = f"expected {name} to be one of {', '.join(allowed)}, got {value!r:.80}"
        raise UserError(text + (f": {hint}" if hint else ""))


def nearest(given: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> list[str]:
    """Return at most ``count`` known names that are spelled most like a given one, ignoring case, hyphens and spaces.

    ``cutoff``: the least similarity, from 0 to 1; see ``difflib.get_close_matches``.
    """
    plain: dict[str, str] = {}
    for name in known:
        plain.setdefault(_plain(name), name)
    return [plain[match] for match in difflib.get_close_matches(_plain(given), plain, n=count, cutoff=cutoff)]


def did_you_mean(given: str, known: Iterable[str], *, count: int = 1, cutoff: float = 0.6) -> str:
    """Return the question "did you mean a or b?", or an empty text if no name is near; arguments as in ``nearest``."""
    names = nearest(given, known, count=count, cutoff=cutoff)
    return f"did you mean {' or '.join(names)}?" if names else ""


def _plain(name: str) -> str:
    return re.sub("[ _-]", "", name.casefold())


def printable(text: str) -> str:
    """Return a text in which escapes replace what a terminal or a page must not receive from the name of a file.

    These are bytes that are not UTF-8; control characters except tabs and line breaks, as some start commands of a
    terminal; and marks that reverse the direction of text, which hide the true ending of a name.
    """
    if text.isprintable():
        return text  # nearly always, also for pictures of megabytes in a page
    return _RAW.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)
