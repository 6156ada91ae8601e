"""Shell completion, asked as a shell asks it."""

from __future__ import annotations

import inspect
import shutil
import subprocess

import pytest

from robustvit import UserError
from robustvit.cli import main as cli
from robustvit.cli.completion import completion
from robustvit.common.errors import option_name

BASH = shutil.which("bash")
ASK = """
source "$1"; shift
COMP_WORDS=("$@"); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
_shtab_robustvit 2>/dev/null
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory):
    path = tmp_path_factory.mktemp("completion") / "robustvit"
    path.write_text(completion("bash"))
    return path


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["ta"], {"table"}),
        (["finetune", "--max"], {"--max-drop"}),
        (["masks", "--fr"], {"--from"}),
        (["masks", "--from", "co"], {"coco"}),
        (["evaluate", "--protocol", ""], {"paper", "standard"}),
        (["finetune", "--train", "h"], {"head"}),
        (["finetune", "--second-order", ""], {"true", "false"}),
        (["search", "--guid"], {"--guidance"}),
        (["table", "--js"], {"--json"}),
        (["completion", ""], {"bash", "zsh", "tcsh"}),
        (["report", "my_"], {"my_runs"}),
        (["evaluate", "--model", "my_"], {"my_runs"}),
    ],
    ids=lambda given: " ".join(sorted(given) if isinstance(given, set) else given),  # alike in every process
)
def test_bash_is_offered(script, tmp_path, words, expected):
    (tmp_path / "my_runs").mkdir()
    command = [BASH, "-c", ASK, "ask", script, "robustvit", *words]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == expected


@pytest.mark.skipif(BASH is None, reason="there is no bash here")
@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_option_of_every_command_is_offered(script, tmp_path, name):
    command = [BASH, "-c", ASK, "ask", script, "robustvit", name, "--"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    parameters = inspect.signature(cli.function_of(name)).parameters.values()
    options = {option_name(one.name) for one in parameters if one.kind is inspect.Parameter.KEYWORD_ONLY}
    assert set(done.stdout.split()) == options | {"--help", "--help-all", "--config", "--print_config", "--json"}


@pytest.mark.parametrize(
    ("shell", "mark"), [("bash", "complete "), ("zsh", "#compdef robustvit"), ("tcsh", "complete r")]
)
def test_scripts_of_all_shells(capsys, shell, mark):
    assert cli.main(["completion", shell]) == 0
    said = capsys.readouterr().out
    assert mark in said
    program = shutil.which(shell)
    if program and shell != "tcsh":
        done = subprocess.run([program, "-n"], input=said, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_another_shell_is_refused(capsys):
    with pytest.raises(UserError, match="bash, zsh, tcsh"):
        completion("elvish")
    assert cli.main(["completion", "elvish"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
