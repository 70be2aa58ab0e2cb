"""What helps to find one's way: `jnrsfm` alone, view, completion."""

import shutil
import subprocess

import pytest

from jnrsfm import cli
from jnrsfm.cli import finding, verbs
from jnrsfm.methods import METHODS

pytestmark = pytest.mark.fast


def test_alone_it_says_what_to_do_next(capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main([])
    assert stop.value.code == 0
    text = capsys.readouterr().out
    named = [line.split()[1] for line in text.splitlines() if line.startswith("  jnrsfm ")]
    assert named == ["demo", "info", "fit", "view", "convert"]
    assert set(named) <= set(verbs.VERBS)
    method = text.partition("--method ")[2].split()[0]
    assert method in METHODS


def test_view_opens_the_page_or_says_where_it_is(tmp_path, capsys, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", lambda url: opened.append(url) or True)
    monkeypatch.setattr(finding, "has_display", lambda: False)
    run = tmp_path / "a run"
    assert cli.main(["view", str(run)]) == 2
    assert "no such run folder: jnrsfm fit FILE --out" in capsys.readouterr().err
    run.mkdir()
    assert cli.main(["view", str(run)]) == 2
    assert "has no report.html: it is no finished run" in capsys.readouterr().err
    (run / "reconstruction.npz").touch()
    assert cli.main(["view", str(run)]) == 2
    assert "jnrsfm report" in capsys.readouterr().err
    page = run / "report.html"
    page.touch()
    assert cli.main(["view", str(run)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    assert opened == []
    monkeypatch.setattr(finding, "has_display", lambda: True)
    for name in (run, page):
        assert cli.main(["view", str(name)]) == 0
    assert capsys.readouterr().out.startswith("opened ")
    assert opened == [page.as_uri()] * 2


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("jnrsfm cle", {"clean"}), ("jnrsfm info --min", {"--min-confidence"}), ("jnrsfm fit x --method cs", {"csf"}),
     ("jnrsfm view ", {"a file.npz"})],
)  # fmt: skip
def test_bash_completes(tmp_path, capsys, typed, offered):
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("no bash here")
    assert cli.main(["completion", "bash"]) == 0
    (tmp_path / "a file.npz").touch()
    words = typed.split(" ")
    array = " ".join(f"'{w}'" for w in words)
    ask = f'COMP_WORDS=({array}); COMP_CWORD={len(words) - 1}; _jnrsfm; printf "%s\\n" "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        [bash, "-c", f"{capsys.readouterr().out}\n{ask}"], capture_output=True, text=True, cwd=tmp_path
    )
    assert set(done.stdout.splitlines()) == offered, done.stderr


def test_zsh_uses_the_same_function():
    assert finding.script("zsh").endswith(finding.script("bash"))
    assert "bashcompinit" in finding.script("zsh")
