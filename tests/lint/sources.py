"""What is in the tree: the files that git tracks or would track. Generated and ignored files are nobody's style."""

import subprocess
from pathlib import Path


def tracked(root: Path) -> list[Path]:
    """Lists all files, relative to root. Outside a repository: every file below root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    if listed.returncode == 0:
        names = [Path(name) for name in listed.stdout.split("\0") if name]
        return sorted(name for name in names if (root / name).is_file())
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


def select(root: Path, folder: str, *suffixes: str) -> list[Path]:
    """Lists the files of a folder that end in one of the suffixes, relative to root."""
    return [path for path in tracked(root) if path.is_relative_to(folder) and path.suffix in suffixes]
