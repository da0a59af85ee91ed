# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Filter of the role report: a report written by a template whose texts stay texts."""

from __future__ import annotations

import re
from pathlib import Path

from ansible_collections.everup.deploy.plugins.module_utils._moments import in_words
from ansible_collections.everup.deploy.plugins.module_utils._release import chart
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape

_TONES = {"rolled": "good", "contracted": "good", "failed": "bad"}
# What Markdown, or the HTML in it, would take for more than a letter.
_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#])")


def markdown_text(text: object) -> str:
    """Return a text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def moment(text: str | None) -> str:
    """Return an ISO 8601 UTC text as people read it: ``2026-11-21 21:03:07``."""
    return text[:19].replace("T", " ") if text else ""


def render_report(report: dict, template: str) -> str:
    """Return a report as a template writes it.

    Ansible's own templating escapes nothing, so that the text of an error could become a part of the page.

    Parameters:
        report: as the module ``release_report`` returns it.
        template: path of a Jinja2 template. The values in one that ends in ``.html.j2`` are escaped; one for Markdown has
            the filter ``markdown_text`` for that. Both have ``report``, ``drawing``, ``figures``, ``tone``, and the filters
            ``duration`` and ``moment``.
    """
    path = Path(template)
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        autoescape=select_autoescape(enabled_extensions=("html.j2",), default=False),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(duration=in_words, moment=moment, markdown_text=markdown_text)
    return environment.get_template(path.name).render(
        report=report,
        drawing=chart.chart(report),
        figures=chart.figures(report),
        tone=_TONES.get(report["release"]["state"], "other"),
    )


class FilterModule:
    """Names the filter for Ansible."""

    def filters(self) -> dict:
        """Return the filter by name."""
        return {"render_report": render_report}
