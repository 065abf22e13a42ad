"""The branch of the published site: its folders, the list of them, and how they get there."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools"))
import publish_site  # noqa: E402


def built(folder: Path, version: str, page: str = "README.html") -> Path:
    """What of a site the tool looks at: the version that it states. A page, besides."""
    folder.mkdir()
    head = f"# Sphinx inventory version 2\n# Project: torch_infotheory\n# Version: {version}\n"
    (folder / "objects.inv").write_bytes(head.encode() + b"# compressed\n\xff")
    (folder / page).write_text(version)
    return folder


def published(tmp_path: Path, *versions: str) -> Path:
    folder = tmp_path / "published"
    folder.mkdir()
    for version in versions:
        stated = "0.11.0-dev" if version == "dev" else version
        publish_site.add(built(tmp_path / version, stated), folder, version)
    return folder


def titles(folder: Path) -> list[tuple[str, str]]:
    listed = json.loads((folder / "versions.json").read_text())
    return [(entry["folder"], entry["title"]) for entry in listed]


def test_the_list_is_in_the_order_of_versions(tmp_path: Path) -> None:
    versions = "0.9.0", "0.10.0", "dev", "0.11.0rc2", "0.11.0rc10", "0.9.1"
    folder = published(tmp_path, *versions)
    assert titles(folder) == [
        ("dev", "dev"),
        ("stable", "stable (0.10.0)"),
        *((name, name) for name in ("0.11.0rc10", "0.11.0rc2", "0.10.0", "0.9.1", "0.9.0")),
    ]
    for version in versions:
        page = (folder / version / "README.html").read_text()
        assert page == ("0.11.0-dev" if version == "dev" else version)
    assert (folder / "stable/README.html").read_text() == "0.10.0"
    assert "url=stable/" in (folder / "index.html").read_text()
    assert (folder / ".nojekyll").exists()


@pytest.mark.parametrize("only", ["dev", "0.1.0rc1"])
def test_without_a_release_nothing_is_stable(tmp_path: Path, only: str) -> None:
    folder = published(tmp_path, only)
    assert titles(folder) == [(only, only)]
    assert not (folder / "stable").exists()
    assert f"url={only}/" in (folder / "index.html").read_text()


def test_a_folder_keeps_no_page_of_what_was_there_before(tmp_path: Path) -> None:
    folder = published(tmp_path, "dev", "0.1.0")
    publish_site.add(built(tmp_path / "new", "0.1.0", page="new.html"), folder, "0.1.0")
    for name in ("0.1.0", "stable"):
        assert {path.name for path in (folder / name).iterdir()} == {"objects.inv", "new.html"}
    assert (folder / "dev/README.html").exists()


@pytest.mark.parametrize(
    "stated, version, message",
    [
        ("0.1.0", "../0.1.0", "neither dev nor a release"),
        ("0.1.0", "stable", "neither dev nor a release"),
        ("0.1.0", "0.2.0", "the site of 0.1.0, not of 0.2.0"),
        ("0.1.0-dev", "0.1.0", "the site of 0.1.0-dev, not of 0.1.0"),
        ("0.1.0", "dev", "the site of 0.1.0, not of dev"),
    ],
)
def test_what_is_not_published(tmp_path: Path, stated: str, version: str, message: str) -> None:
    folder = published(tmp_path)
    with pytest.raises(SystemExit, match=message):
        publish_site.add(built(tmp_path / "site", stated), folder, version)
    assert list(folder.iterdir()) == []


def test_the_branch_keeps_the_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    for key in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{key}_NAME", "a test")
        monkeypatch.setenv(f"GIT_{key}_EMAIL", "test@localhost")
    origin, clone = tmp_path / "origin", tmp_path / "clone"

    def git(*arguments: str | Path) -> list[str]:
        done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
        return done.stdout.splitlines()

    git("init", "--quiet", "--bare", "--initial-branch=main", origin)
    git("clone", "--quiet", origin, clone)
    monkeypatch.chdir(clone)
    (clone / "source").touch()
    git("add", "source")
    git("commit", "--quiet", "-m", "Begin")
    git("push", "--quiet", "origin", "HEAD:main")

    tool = ROOT / "tools/publish_site.py"
    for site, version in (("0.1.0-dev", "dev"), ("0.1.0", "0.1.0"), ("0.2.0-dev", "dev")):
        folder = built(tmp_path / site, site)
        subprocess.run([sys.executable, tool, folder, version], check=True)

    folders = git("-C", origin, "ls-tree", "--name-only", "gh-pages")
    assert folders == [".nojekyll", "0.1.0", "dev", "index.html", "stable", "versions.json"]
    assert git("-C", origin, "show", "gh-pages:dev/README.html") == ["0.2.0-dev"]
    assert git("-C", origin, "log", "--format=%s", "gh-pages") == [
        "Publish the site of dev",
        "Publish the site of 0.1.0",
        "Publish the site of dev",
        "Begin with nothing",
    ]
    assert git("status", "--porcelain") == [] and len(git("worktree", "list")) == 1
