"""The ``tushuo`` command."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import tushuo


@pytest.mark.parametrize("command", tushuo.COMMANDS)
def test_every_command_is_a_module_that_python_can_run(command: str) -> None:
    module, _ = tushuo.COMMANDS[command]
    spec = find_spec(module)
    if spec is not None and spec.submodule_search_locations is not None:
        spec = find_spec(f"{module}.__main__")
    assert spec is not None


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert tushuo.main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert [name for name in tushuo.COMMANDS if f"  {name} " not in printed] == []


def test_no_command_is_a_usage_error_with_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert tushuo.main([]) == 2
    assert "usage: tushuo COMMAND" in capsys.readouterr().err


def test_an_unknown_command_is_answered_with_the_known_ones(capsys: pytest.CaptureFixture[str]) -> None:
    assert tushuo.main(["captoin"]) == 2
    message = capsys.readouterr().err
    assert "unknown command 'captoin'; choose from extract, " in message
    assert "caption" in message


def test_a_command_gets_its_arguments_and_decides_the_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    program = "import sys\nif __name__ == '__main__':\n    print(sys.argv[1:])\n    sys.exit(3)\n"
    (tmp_path / "three.py").write_text(program, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "argv", ["tushuo"])
    monkeypatch.setitem(tushuo.COMMANDS, "three", ("three", "exits with 3"))
    with pytest.raises(SystemExit) as stopped:
        tushuo.main(["three", "--a.b=1", "c"])
    assert stopped.value.code == 3
    assert capsys.readouterr().out == "['--a.b=1', 'c']\n"


def test_help_loads_nothing_of_the_project() -> None:
    program = (
        "import sys, tushuo; tushuo.main(['--help']); print('torch' in sys.modules, 'eval' in sys.modules)"
    )
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert ran.stdout.endswith("False False\n")
