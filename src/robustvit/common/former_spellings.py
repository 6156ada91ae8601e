"""How options of a command were given in earlier versions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from robustvit.common.errors import UserError, option_name


@dataclass(frozen=True)
class FormerSpellings:
    """How options of a command were given in earlier versions; a warning names the new way.

    Attributes:
        renamed: new names by old ones.
        positional: options that were given without their names, in this order.
    """

    renamed: Mapping[str, str] = field(default_factory=dict)
    positional: Sequence[str] = ()

    def take(self, arguments: Sequence[Any], keywords: Mapping[str, Any]) -> dict[str, Any]:
        """Return the keywords of a call under their new names, including those of positional arguments."""
        found = {name: value for name, value in keywords.items() if name not in self.renamed}
        former = [(name, name, value) for name, value in zip(self.positional, arguments, strict=False)]
        former += [(old, new, keywords[old]) for old, new in self.renamed.items() if old in keywords]
        for old, new, value in former:
            if found.get(new) is not None:
                raise UserError(f"{option_name(new)} is given twice: leave one out")
            tell_new_name(old, new)
            found[new] = value
        return found


def tell_new_name(old: str, new: str) -> None:
    """Warn that an option was renamed, or is no longer positional."""
    from robustvit.common.progress import warn  # rich takes a while to import

    option = option_name(new)
    warn(f"{old} is given by its name now: {option}" if old == new else f"--{old} is called {option} now")


NO_FORMER = FormerSpellings()


def former_spellings(function: Callable[..., Any]) -> FormerSpellings:
    """Return how options of a command were spelled in earlier versions."""
    return getattr(function, "formerly", NO_FORMER)
