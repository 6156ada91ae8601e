"""Hook of MkDocs: pages that are made from other files of the project, and links between them.

The site's home is README.md, its changes CHANGELOG.md, its benchmarks benchmarks/; the reference of the commands is
their own help. So nothing is written twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_SHOWN = (".md", ".json", ".png")
_PAGELESS = "CONTRIBUTING|LICENSE|SECURITY|CITATION|examples/|src/|tests/|scripts/"


def commands_page() -> str:
    """The help of every command as Markdown."""
    from robustvit.cli import COMMANDS, function_of, parser_of

    parts = ["# Commands", "", "Made from the commands' own help. Every command also takes `--config FILE`.", ""]
    for name in COMMANDS:
        parser, _ = parser_of(name, function_of(name))
        parts += [f"## robustvit {name}", "", "```text", parser.format_help().rstrip(), "```", ""]
    return "\n".join(parts)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made, and the benchmarks with their results."""
    made = {
        "index.md": (ROOT / "README.md").read_text(encoding="utf-8"),
        "changes.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        "reference/commands.md": commands_page(),
    }
    for place, text in made.items():
        files.append(File.generated(config, place, content=text))
    for path in sorted((ROOT / "benchmarks").rglob("*")):
        if path.suffix in _SHOWN:
            files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between places of the repository into links between pages of the site."""
    place = page.file.src_uri
    if place in ("index.md", "changes.md"):
        markdown = re.sub(r"\]\((?:\./)?docs/", "](", markdown)
        markdown = markdown.replace("](CHANGELOG.md", "](changes.md")
        markdown = markdown.replace("](benchmarks/)", "](benchmarks/README.md)")
    up = "../" * place.count("/")
    markdown = re.sub(r"\]\((?:\.\./)+docs/", f"]({up}", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+README\.md", f"]({up}index.md", markdown)
    if not place.startswith("benchmarks/"):
        markdown = re.sub(r"\]\((?:\.\./)+benchmarks/", f"]({up}benchmarks/", markdown)
    # Files that have no page are named, not linked.
    return re.sub(rf"\[([^\]]+)\]\((?:\.\./)*(?:{_PAGELESS})[^)]*\)", r"\1", markdown)
