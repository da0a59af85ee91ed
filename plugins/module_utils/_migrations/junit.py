# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Writes test results as JUnit XML, as CI systems read it."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

from .._errors import EverupError


def write_junit(path: Path, results: list) -> None:
    """Write results to a file, one suite a file of assertions.

    Parameters:
        path: the file; its folder must exist.
        results: objects with name, suite, seconds and failure.

    Raises:
        EverupError: the file cannot be written.
    """
    root = ET.Element("testsuites")
    suites: dict[str, list] = {}
    for result in results:
        suites.setdefault(result.suite, []).append(result)
    for name, members in suites.items():
        failures = sum(bool(result.failure) for result in members)
        seconds = sum(result.seconds for result in members)
        attributes = {"name": name, "tests": str(len(members)), "failures": str(failures), "time": f"{seconds:.3f}"}
        suite = ET.SubElement(root, "testsuite", attributes)
        for result in members:
            case = ET.SubElement(suite, "testcase", {"classname": name, "name": result.name, "time": f"{result.seconds:.3f}"})
            if result.failure:
                ET.SubElement(case, "failure", {"message": _legal(result.failure)})
    try:
        ET.ElementTree(root).write(path, encoding="utf-8", xml_declaration=True)
    except OSError as error:
        raise EverupError(f"The results cannot be written to {path}: {error.strerror}.") from None


def _legal(text: str) -> str:
    """Return text without the characters that XML 1.0 cannot hold."""
    return "".join(character for character in text if character in "\t\n\r" or character >= " ")
