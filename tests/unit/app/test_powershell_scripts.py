# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The PowerShell scripts of the roles can be read by a grammar of PowerShell, which is no proof that they run."""

from __future__ import annotations

from pathlib import Path

import pytest
import tree_sitter
import tree_sitter_powershell

SCRIPTS = sorted((Path(__file__).resolve().parents[3] / "roles").glob("*/files/**/*.ps1"))


def errors(source: bytes) -> list[int]:
    """Return the lines in which a script is no PowerShell."""
    tree = tree_sitter.Parser(tree_sitter.Language(tree_sitter_powershell.language())).parse(source)
    nodes, found = [tree.root_node], []
    while nodes:
        node = nodes.pop()
        nodes += node.children
        if node.is_error or node.is_missing:
            found.append(node.start_point[0] + 1)
    return sorted(found)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_a_script_is_powershell(script):
    assert errors(script.read_bytes()) == []


def test_there_are_scripts_and_an_error_is_seen():
    assert len(SCRIPTS) >= 3
    assert errors(b"if ($a {\n}\n")
