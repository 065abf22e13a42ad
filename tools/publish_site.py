"""Publishes a built site on the branch gh-pages, in a folder of its version beside the others.

    python3 tools/publish_site.py build/site dev       # after `make site`
    python3 tools/publish_site.py build/site 0.1.0     # after `make site RELEASE=1`

The branch has a folder for each release; `dev`, the development state; `stable`, a copy of the
newest release; an index.html that leads to one of these two; and versions.json, which names the
folders. Pages of all versions read that file (docs/static/versions.js), those of old releases too:
its form has to stay. Nothing but git and Python is needed.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

BRANCH = "gh-pages"
RELEASE = re.compile(r"(\d+)\.(\d+)\.(\d+)(?:(a|b|rc)(\d+))?")
INDEX = """\
<!doctype html>
<meta charset="utf-8">
<meta http-equiv="refresh" content="0; url={0}/">
<title>torch_infotheory</title>
<a href="{0}/">torch_infotheory</a>
"""


def order(release: str) -> tuple[list[int], bool, str, int]:
    """By numbers, so that 0.10.0 is after 0.9.0; candidates are before their release."""
    match = RELEASE.fullmatch(release)
    assert match, release
    *numbers, stage, count = match.groups()
    return [int(number) for number in numbers], stage is None, stage or "", int(count or 0)


def add(site: Path, published: Path, version: str) -> None:
    """Put the site into the folder of its version, and bring what leads there up to date."""
    if version != "dev" and not RELEASE.fullmatch(version):
        raise SystemExit(f"{version!r} is neither dev nor a release, like 0.1.0 or 0.1.0rc1")
    inventory = (site / "objects.inv").read_bytes()
    stated = inventory.split(b"# Version: ")[1].split(b"\n")[0].decode()
    if stated != version and not (version == "dev" and stated.endswith("-dev")):
        raise SystemExit(f"{site} is the site of {stated}, not of {version}")

    replace(site, published / version)
    releases = [path.name for path in published.iterdir() if RELEASE.fullmatch(path.name)]
    releases.sort(key=order, reverse=True)
    titles = {"dev": "dev"} if (published / "dev").exists() else {}
    # A candidate is not stable.
    if stable := next((name for name in releases if order(name)[1]), None):
        replace(published / stable, published / "stable")
        titles["stable"] = f"stable ({stable})"
    titles |= {name: name for name in releases}
    listed = [{"folder": folder, "title": title} for folder, title in titles.items()]
    (published / "versions.json").write_text(json.dumps(listed, indent=2) + "\n")
    (published / "index.html").write_text(INDEX.format("stable" if stable else listed[0]["folder"]))
    (published / ".nojekyll").touch()  # or Pages leaves out _static, for its first character


def replace(source: Path, target: Path) -> None:
    """Copy a folder, without what an earlier copy had besides."""
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target)


def git(*arguments: str | Path) -> str:
    done = subprocess.run(
        ["git", *arguments], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    return done.stdout.strip()


def main(site: Path, version: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        published = Path(folder) / "published"
        if git("ls-remote", "origin", f"refs/heads/{BRANCH}"):
            git("fetch", "--quiet", "--depth=1", "origin", BRANCH)
            start = "FETCH_HEAD"
        else:
            start = git("commit-tree", "-m", "Begin with nothing", git("mktree"))
        git("worktree", "add", "--quiet", "--detach", published, start)
        try:
            add(site, published, version)
            git("-C", published, "add", "--all")
            message = f"Publish the site of {version}"
            git("-C", published, "commit", "--quiet", "--allow-empty", "-m", message)
            git("-C", published, "push", "origin", f"HEAD:refs/heads/{BRANCH}")
        finally:
            git("worktree", "remove", "--force", published)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
