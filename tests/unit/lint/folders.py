# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A migrations folder with the linter's parameters for it."""

from __future__ import annotations

from pathlib import Path

from ansible_collections.everup.deploy.plugins.modules import migration_lint


class Folder(dict):
    """The parameters of the module, as Ansible would fill them in, of a folder below ``path``."""

    def write(self, source: str, text: str) -> Path:
        """Write a script, such as ``expand/0001_a.sql``."""
        path = Path(self["path"]) / source
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path


def params(folder: Path, engine: str = "postgresql", **options) -> Folder:
    """Return the parameters for ``folder/migrations``; the cache is in the folder, too."""
    defaults = {name: option.get("default") for name, option in migration_lint.ARGUMENT_SPEC.items()}
    path = folder / "migrations"
    (path / "expand").mkdir(parents=True)
    given = {**defaults, "engine": engine, "path": str(path), "cache": str(folder / "cache"), "processes": 1, **options}
    return Folder(given)
