# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The linter as a command, for pre-commit and for CI without Ansible."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from .._errors import EverupError
from .parse import DIALECTS
from .report import FORMATS
from .rule import PHASES, SEVERITIES
from .run import is_fatal, judge


def main(arguments: list[str] | None = None) -> int:
    """Judge folders, or the files of one that are named.

    Parameters:
        arguments: of the command line; those of this process without any.

    Returns:
        0 when nothing is as bad as ``--fail-on``, 1 when something is, 2 when it could not be said.
    """
    options = _parser().parse_args(arguments)
    try:
        placeholders = dict(_pair(text) for text in options.placeholder)
        findings = []
        for root, files in _roots(options.paths).items():
            found = [
                finding for finding in judge(_params(options, root, placeholders))[0] if not files or finding.source in files
            ]
            sys.stdout.write(FORMATS[options.format](found, f"{root}/"))
            findings += found
    except EverupError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    return 1 if any(is_fatal(finding, options.fail_on) for finding in findings) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("everup-lint", description="Say what migrations would break, block or lose.")
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a migrations folder, or scripts in its phases' folders")
    parser.add_argument("--engine", required=True, choices=list(DIALECTS))
    parser.add_argument("--server-version", default="", help="such as 15.4; for SQL Server 16.0 is 2022")
    parser.add_argument("--edition", choices=["enterprise", "azure", "standard", "web", "express"], help="of SQL Server")
    parser.add_argument("--since", metavar="VERSION", help="scripts up to this version have run: judge those beyond it")
    parser.add_argument("--source", action="append", default=[], metavar="PATH", help="the application's source, for drops")
    parser.add_argument(
        "--placeholder", action="append", default=[], metavar="NAME=VALUE", help="value of ${NAME} in the scripts"
    )
    parser.add_argument("--fail-on", choices=[*reversed(SEVERITIES), "never"], default="error")
    parser.add_argument("--format", choices=list(FORMATS), default="text")
    parser.add_argument("--processes", type=int, default=0, help="that parse at the same time; by default one a processor")
    parser.add_argument("--cache", metavar="FOLDER", help="by default everup-lint in the user's cache folder")
    for phase in PHASES:
        parser.add_argument(f"--{phase}-folder", default=phase, metavar="NAME")
    return parser


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise EverupError(f"--placeholder {text}: write it as NAME=VALUE")
    return name, value


def _roots(paths: list[str]) -> dict[str, set]:
    """Return the migrations folders that paths mean, each with the names of the scripts that were asked for; none for all."""
    roots: dict[str, set] = {}
    whole = set()
    for path in map(Path, paths):
        if not path.exists():
            raise EverupError(f"{path} does not exist.")
        if path.is_dir():
            whole.add(str(path))
            roots.setdefault(str(path), set())
        else:
            folder = path.absolute().parent
            root = str(path.parent.parent) if path.parent.name else str(folder.parent)
            roots.setdefault(root, set()).add(f"{folder.name}/{path.name}")
    return {root: set() if root in whole else files for root, files in roots.items()}


def _params(options: argparse.Namespace, root: str, placeholders: dict) -> dict:
    return {
        "path": root,
        **{f"{phase}_folder": getattr(options, f"{phase}_folder") for phase in PHASES},
        "placeholders": placeholders,
        "engine": options.engine,
        "server_version": options.server_version,
        "edition": options.edition,
        "since": options.since,
        "sources": options.source,
        "cache": options.cache,
        "processes": options.processes,
        "phases": list(PHASES),
        "live": False,
    }


if __name__ == "__main__":
    raise SystemExit(main())
