"""MkDocs hook: pages generated from other files of the project, and links between them.

The home page is README.md, the changes are CHANGELOG.md, the benchmarks are benchmarks/, and the reference of the
commands is their help, so that nothing is written twice.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parent.parent
_SHOWN = (".md", ".json", ".png")
_INLINE = re.compile(r"<code>([^<]*--[^<]*)</code>")
_OPTION = re.compile(r"(?<![\w-])--[a-z][\w-]*")
_NAME = re.compile(r"<code>([\w.]+(?:-[\w.]+)+)</code>")
_PAGELESS = "CONTRIBUTING|LICENSE|SECURITY|CITATION|examples/|src/|tests/|scripts/"


def commands_pages() -> dict[str, str]:
    """Return the reference of the commands as Markdown, by path: an overview, and a page for each stage."""
    from robustvit.cli.help import description_of
    from robustvit.cli.main import STAGES, function_of

    overview = [
        "# Commands",
        "",
        "Every command also takes `--config FILE`, `--print_config`, `--json` and `--help-all`.",
        "",
    ]
    pages = {}
    for stage, commands in STAGES.items():
        name_of_page = f"commands/{stage.split()[0]}.md"
        overview += [f"## {stage.capitalize()}", "", "| command | what it does |", "|---|---|"]
        for name in commands:
            first = " ".join(description_of(function_of(name))[0].partition("\n\n")[0].split())
            overview.append(f"| [{name}]({name_of_page}#robustvit-{name}) | {first} |")
        overview.append("")
        lines = [
            f"# {stage.capitalize()}",
            "",
            "The options that matter most are open, the rest of each group is folded.",
        ]
        for name in commands:
            lines += ["", *_command(name)]
        pages[f"reference/{name_of_page}"] = "\n".join(lines)
    return {"reference/commands.md": "\n".join(overview), **pages}


def _mark_options(text: str) -> str:
    """Set names of options in plain text as code, which stays on one line."""
    return _OPTION.sub(lambda name: f"<code class=option>{name[0]}</code>", text)


def _command(name: str) -> list[str]:
    """Return the lines of one command: what it does, how it is called, and its options in groups."""
    from robustvit.cli.help import describe_option, description_of, option_groups, usage_of
    from robustvit.cli.main import function_of
    from robustvit.common.command_options import options_of

    function = function_of(name)
    text, example = description_of(function)
    lines = [f"## robustvit {name}", "", _mark_options(text), "", "```", usage_of(name, function)]
    lines += [*([f"example: {example}"] if example else []), "```", ""]
    names = [one.name for one in options_of(function)]
    for number, (heading, options) in enumerate(option_groups(function).items()):
        listed = [
            f"- <code class=option>{shown}</code> {_mark_options(words)}"
            for shown, words in (describe_option(one, names) for one in options)
        ]
        if number == 0:
            lines += [*listed, ""]
        else:
            count = f"{len(options)} option{'s' * (len(options) > 1)}"
            title = f"<summary>{heading or 'More'} ({count})</summary>"
            lines += ["<details markdown>", title, "", *listed, "", "</details>", ""]
    return lines


def on_files(files: Files, config: Any) -> Files:
    """Add the generated pages, and the benchmarks with their results."""
    pages = {
        "index.md": (ROOT / "README.md").read_text(encoding="utf-8"),
        "changes.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
        **commands_pages(),
    }
    for path, text in pages.items():
        files.append(File.generated(config, path, content=text))
    for path in sorted((ROOT / "benchmarks").rglob("*")):
        if path.suffix in _SHOWN:
            files.append(File.generated(config, str(path.relative_to(ROOT)), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Turn links between files of the repository into links between pages of the site."""
    source = page.file.src_uri
    if source in ("index.md", "changes.md"):
        markdown = re.sub(r"\]\((?:\./)?docs/", "](", markdown)
        markdown = markdown.replace("](CHANGELOG.md", "](changes.md")
        markdown = markdown.replace("](benchmarks/)", "](benchmarks/README.md)")
    up = "../" * source.count("/")
    markdown = re.sub(r"\]\((?:\.\./)+docs/", f"]({up}", markdown)
    markdown = re.sub(r"\]\((?:\.\./)+README\.md", f"]({up}index.md", markdown)
    if not source.startswith("benchmarks/"):
        markdown = re.sub(r"\]\((?:\.\./)+benchmarks/", f"]({up}benchmarks/", markdown)
    # Files without a page are named, not linked.
    return re.sub(rf"\[([^\]]+)\]\((?:\.\./)*(?:{_PAGELESS})[^)]*\)", r"\1", markdown)


def on_page_content(html: str, **_: Any) -> str:
    """Keep names of options, and of what they take, on one line: browsers break words at hyphens."""
    html = _NAME.sub(lambda name: f"<code class=option>{name[1]}</code>" if len(name[1]) < 24 else name[0], html)
    return _INLINE.sub(
        lambda code: f"<code>{_OPTION.sub(lambda name: f'<span class=option>{name[0]}</span>', code[1])}</code>", html
    )
