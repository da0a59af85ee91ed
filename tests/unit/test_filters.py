# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Every filter file can be loaded as Ansible does it, and every filter in it is documented."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins import filter as package

FOLDER = Path(next(iter(package.__path__)))
FILES = sorted(path.stem for path in FOLDER.glob("*.py"))


def test_there_are_filter_files():
    assert FILES


@pytest.mark.parametrize("name", FILES)
def test_a_filter_file_gives_documented_filters(name):
    filters = import_module(f"{package.__name__}.{name}").FilterModule().filters()
    assert filters
    for filter_name, function in filters.items():
        assert callable(function)
        documented = (FOLDER / f"{filter_name}.yml").is_file() or filter_name == name
        assert documented, filter_name
