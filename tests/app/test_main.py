from __future__ import annotations

import socket
from pathlib import Path

import pytest

import app.__main__ as command
from tests.app.small_collection import make_collection


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What Streamlit would have been started with."""
    pytest.importorskip("streamlit", reason="needs streamlit: pip install 'tushuo[app]'")
    calls: list[list[str]] = []
    monkeypatch.setattr("streamlit.web.cli.main", lambda args, **_: calls.append(args))
    return calls


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind((command.ADDRESS, 0))
        return int(probe.getsockname()[1])


def test_the_server_listens_on_this_machine_only_and_serves_no_files(
    served: list[list[str]], tmp_path: Path
) -> None:
    port = free_port()
    words = [*make_collection(tmp_path), "--port", str(port)]
    assert command.main(words) == 0
    (call,) = served
    flags = dict(word.removeprefix("--").split("=") for word in call[2 : call.index("--")])
    assert flags["server.address"] == "127.0.0.1"
    assert flags["server.port"] == str(port)
    assert flags["server.maxUploadSize"] == "20"
    assert flags["server.enableXsrfProtection"] == "true"
    assert flags["server.enableStaticServing"] == "false"
    assert flags["browser.gatherUsageStats"] == "false"
    assert call[call.index("--") + 1 :] == words


def test_every_setting_is_one_that_streamlit_knows() -> None:
    config = pytest.importorskip("streamlit.config", reason="needs streamlit: pip install 'tushuo[app]'")
    for name in command.streamlit_settings(8501):
        config.get_option(name)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--images", "{tmp}/nowhere"], "nowhere: a folder of pictures is wanted"),
        (["--regions", "{tmp}/text"], "text: not HDF5"),
        (["--predictions", "{tmp}/text"], "text: found text that starts with"),
        (["--references", "{tmp}/none.json"], "none.json: found no such file or directory"),
    ],
)
def test_a_wrong_file_is_one_message_before_anything_is_served(
    words: list[str],
    message: str,
    served: list[list[str]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    make_collection(tmp_path)
    (tmp_path / "text").write_text("nothing known")
    given = ["--images", str(tmp_path / "pictures"), "--port", str(free_port())]
    assert command.main(given + [word.format(tmp=tmp_path) for word in words]) == 1
    said = capsys.readouterr().err
    assert message in said
    assert "Traceback" not in said
    assert served == []


def test_a_port_in_use_is_named_with_another(
    served: list[list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as other:
        other.bind((command.ADDRESS, 0))
        other.listen()
        port = other.getsockname()[1]
        words = ["--images", str(tmp_path), "--port", str(port)]
        assert command.main(words) == 1
    assert f"port {port} is taken; give another: --port {port + 1}" in capsys.readouterr().err
