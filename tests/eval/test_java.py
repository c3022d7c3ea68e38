"""Running Java programs: what is missing is said, what goes wrong is told, nothing is left running."""

import os
from pathlib import Path

import pytest

from eval.java import MetricUnavailable, find_java, jar, java_release, run_jar
from tests.eval.fake_java import fake_java


def run(path: Path, *, seconds: float = 600, text: str = "") -> str:
    return run_jar("METEOR", path / "some.jar", ["-norm"], memory="2G", seconds=seconds, text=text)


def test_without_java_the_package_to_install_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MetricUnavailable, match="METEOR is a Java program .*apt-get install default-jre"):
        run(tmp_path)


def test_java_home_goes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bin").mkdir()
    fake_java(tmp_path / "bin", monkeypatch, "", release="1.8.0_242")
    home = find_java("SPICE")
    fake_java(tmp_path, monkeypatch, "", release="17")
    assert java_release(find_java("SPICE")) == 17
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert find_java("SPICE") == home
    assert java_release(home) == 8


def test_a_missing_jar_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    assert jar("meteor", "meteor-1.5.jar").is_file()
    with pytest.raises(MetricUnavailable, match="METEOR needs .*meteor-9.jar, which is missing; install"):
        jar("meteor", "meteor-9.jar")


def test_text_arrives_as_utf_8_in_any_locale(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, "sys.stdout.buffer.write(sys.stdin.buffer.read())")
    monkeypatch.setenv("LC_ALL", "C")
    text = "一只狗 é\n" * 30_000  # more than any pipe holds
    assert run(tmp_path, text=text) == text


def test_a_program_that_fails_is_quoted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_java(tmp_path, monkeypatch, "sys.exit('java.lang.OutOfMemoryError: heap')")
    with pytest.raises(ChildProcessError, match=r"METEOR: .*java ended with status 1\. java.lang.OutOfMem"):
        run(tmp_path, text="not read, and longer than a pipe holds " * 10_000)


def test_a_program_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = tmp_path / "pid"
    fake_java(tmp_path, monkeypatch, f"open({str(mark)!r}, 'w').write(str(os.getpid()))\ntime.sleep(3600)")
    with pytest.raises(TimeoutError, match="METEOR gave no answer within 5 s and was stopped"):
        run(tmp_path, seconds=5)
    if mark.exists():  # else it was stopped before it could write
        with pytest.raises(ProcessLookupError):
            os.kill(int(mark.read_text()), 0)
