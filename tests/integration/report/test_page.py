# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""The page of a release in a real Chromium: light, dark and on paper, and deaf to what texts would have it do."""

from __future__ import annotations

import json
import re
import subprocess
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from ansible_collections.everup.deploy.plugins.filter.render_report import markdown_text, render_report

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "roles" / "report" / "templates"
HOSTILE = "</td><script>document.title='owned'</script><img src=http://192.0.2.1/x onerror=alert(1)> | _no_ `disk`"
NOON = datetime(2026, 11, 20, 12)
LOOK = f"<script>{(Path(__file__).parent / 'look.js').read_text()}</script>"


def at(seconds: float) -> str:
    return (NOON + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


def span(start: float, end: float, **about) -> dict:
    return {**about, "from": at(start), "to": at(end), "seconds": end - start}


def host(number: int, hosts: int) -> dict:
    start = 60 + number * 600 / hosts
    states = [("draining", 5), ("upgrading", 20), ("healthy", 4)]
    steps, now = [], start
    for state, seconds in states:
        steps.append(span(now, now + seconds, state=state, reason=None))
        now += seconds
    end = "failed" if number == 1 else "ready"
    steps.append(span(now, now, state=end, reason=HOSTILE if end == "failed" else None))
    return {
        "host": f"web{number:03}.shop.example.com",
        "web_group": "web",
        "state": end,
        "version_before": "1.0.0",
        "version_after": "2.0.0",
        "reason": steps[-1]["reason"],
        "steps": steps,
    }


def a_report(hosts: int) -> dict:
    """A release of many hosts with everything that a report can have, contracted a day later."""
    day = 86_400
    buckets = [[second, 10, 1 if 300 <= second < 303 else 0, 5.0, 14.0 + second % 7, 30.0] for second in range(700)]
    latency = {"requests": 100, "failed": 3, "p50_ms": 5.0, "p95_ms": 9.0, "p99_ms": 14.0, "max_ms": None}
    detail = {
        "bucket_s": 1,
        "buckets": buckets,
        "down": [[300, 303.2]],
        "rate": 10.0,
        "write_rate": 1.0,
        "reasons": {"HTTP 503": 1, HOSTILE: 2},
        "definition": "What counts as down.",
        "latency": {"before": latency, "during": latency, "after": latency},
    }
    script = {
        "phase": "expand",
        "script": "expand/0007_a.sql",
        "version": "0007",
        "state": "applied",
        "started_at": at(5),
        "finished_at": at(9),
        "seconds": 4.0,
        "tries": 3,
        "waited_s": 1.2,
        "applied_by": "ann@c1",
        "error": None,
    }
    return {
        "release": {
            "id": 7,
            "version": "2.0.0",
            "state": "contracted",
            "reached": "contracted",
            "schema_version": "0014",
            "opened_at": at(0),
            "opened_by": "ann@c1",
            "reason": HOSTILE,
        },
        "written_at": at(2 * day),
        "written_by": "ann@c1",
        "phases": [
            span(2, 20, name="expand", state="expanded"),
            span(50, 700, name="rolling upgrade", state="rolled"),
            span(day, day + 40, name="contract", state="contracted"),
        ],
        "hosts": [host(number, hosts) for number in range(hosts)],
        "scripts": [script, {**script, "script": "expand/0008_b.sql", "state": "failed", "error": HOSTILE}],
        "backfills": [
            {
                "version": "0007",
                "description": "profile id",
                "state": "finished",
                "rows_changed": 1000,
                "batches": 4,
                "rows_left": 0,
                "error": None,
                "started_at": at(20),
                "finished_at": at(45),
                "seconds": 25.0,
                "applied_by": "ann",
            }
        ],
        "gates": [
            {"name": "hosts", "state": "yes", "override": "", "proof": HOSTILE},
            {"name": "usage", "state": "not known, overridden", "override": HOSTILE, "proof": "no history"},
        ],
        "overrides": [{"at": at(day), "who": "ann@c1", "subject": "usage", "reason": HOSTILE}],
        "probes": [
            {
                "run": "r",
                "target": ["http://shop.example.com/", "PUT http://shop.example.com/probe"],
                "started_at": at(0),
                "ended_at": at(700),
                "requests": 7000,
                "failed": 3,
                "downtime_ms": 3200,
                "longest_gap_ms": 3200,
                "detail": detail,
            }
        ],
        "trash": [
            {
                "script": "0007",
                "kind": "column",
                "object": "orders.client_id",
                "kept_as": "orders.client_id__2_0_0",
                "state": "dropped",
                "dropped_at": at(day),
                "purge_after": at(3 * day),
            },
            {
                "script": "0008",
                "kind": "table",
                "object": "old_tags",
                "kept_as": "everup_trash.old_tags__2_0_0",
                "state": "restored",
                "dropped_at": at(day),
                "purge_after": at(5 * day),
            },
        ],
        "events": [
            {"id": 1, "at": at(0), "who": "ann@c1", "what": "release_opened", "subject": HOSTILE, "detail": {"reason": HOSTILE}}
        ],
    }


def chromium(folder: Path, page: Path, *flags: str) -> str:
    """Run Chromium without a window on a page; returns what it prints."""
    quiet = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars", "--no-first-run"]
    quiet += ["--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--virtual-time-budget=2000"]
    command = ["chromium", *quiet, f"--user-data-dir={folder / 'profile'}", *flags, page.as_uri()]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def look(folder: Path, hosts: int, *flags: str) -> dict:
    """Return what LOOK sees of the page of a release with that many hosts."""
    page = folder / "page.html"
    page.write_text(render_report(a_report(hosts), str(TEMPLATES / "report.html.j2")).replace("</body>", LOOK + "</body>"))
    printed = chromium(folder, page, "--window-size=1200,1600", "--dump-dom", *flags)
    text = re.findall(r'<pre id="seen">(.*?)</pre>', printed, re.DOTALL)[-1]
    return json.loads(text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&"))


@pytest.mark.parametrize(("scheme", "background"), [("1", "rgb(255, 255, 255)"), ("0", "rgb(17, 22, 29)")], ids=["light", "dark"])
def test_everything_on_the_page_can_be_read(tmp_path, scheme, background) -> None:
    seen = look(tmp_path, 6, f"--blink-settings=preferredColorScheme={scheme}")
    assert seen["background"] == background
    assert seen["leastContrast"] >= 4.5, "the WCAG's level AA for texts"
    assert seen["leastOnBars"] >= 3, "what a bar's title says as well"
    assert (seen["outside"], seen["overlapping"]) == ([], [])
    assert seen["named"] == "img true" and seen["untitledBars"] == 0 and seen["heads"] is True


def test_the_page_stands_for_itself_and_a_text_stays_a_text(tmp_path) -> None:
    seen = look(tmp_path, 3)
    assert seen["title"] == "Release 2.0.0: contracted"
    assert (seen["loaded"], seen["images"], seen["scripts"]) == ([], 0, 1), "the one script is the test's own"
    page = render_report(a_report(3), str(TEMPLATES / "report.html.j2"))
    assert not re.search(r"<script|https?://(?!shop\.example\.com|192\.0\.2\.1)", page)


def test_two_hundred_hosts_have_a_row_each(tmp_path) -> None:
    seen = look(tmp_path, 200)
    assert (seen["outside"], seen["overlapping"]) == ([], [])
    assert seen["wide"] <= 1200


def test_it_can_be_printed(tmp_path) -> None:
    page, paper = tmp_path / "page.html", tmp_path / "page.pdf"
    page.write_text(render_report(a_report(20), str(TEMPLATES / "report.html.j2")))
    chromium(tmp_path, page, f"--print-to-pdf={paper}")
    assert paper.read_bytes().startswith(b"%PDF") and paper.stat().st_size > 20_000


def test_markdown_shows_texts_as_they_are() -> None:
    written = render_report(a_report(3), str(TEMPLATES / "report.md.j2"))
    rows = [line for line in written.splitlines() if line.startswith("|")]
    tables = [len(re.findall(r"(?<!\\)\|", row)) for row in rows]
    assert set(tables) <= {4, 5, 6, 7, 8}, "a bar in a text ends no cell"
    assert "<script>" not in written and markdown_text("a|b\n<i>") == r"a\|b \<i\>"
    latency = written.partition("| latency |")[2].splitlines()
    assert [line.split("|")[1].strip() for line in latency[2:5]] == ["before the change", "during the change", "after the change"]
    assert "| hosts | yes |" in written and r"expand/0007\_a.sql" in written


def test_a_version_that_a_host_tells_is_a_text_too() -> None:
    told = a_report(3)
    told["hosts"][0]["version_before"] = HOSTILE
    for suffix in ("md", "html"):
        assert not re.search(r"(?<!\\)<img", render_report(told, str(TEMPLATES / f"report.{suffix}.j2")))


def test_what_is_told_was_so() -> None:
    report = a_report(3)
    report["gates"][1]["override"] = "a reason"
    html, written = (render_report(report, str(TEMPLATES / f"report.{form}.j2")) for form in ("html", "md"))
    assert "http://shop.example.com/ (10 a second), PUT http://shop.example.com/probe (1 a second)." in html
    assert "onerror=alert(1)&gt; | _no_ `disk`: 2, HTTP 503: 1), 3.2 s down" in html
    assert '<td class="number">100</td><td class="number">3</td>' in html
    assert "<td>not known, overridden: a reason</td>" in html
    assert "| not known, overridden: a reason |" in written
    for page in (html, written):
        assert "2026-11-23 12:00" in page, "until when what is kept stays"
        assert "2026-11-25" not in page, "what is restored is not purged"


def test_json_is_the_report() -> None:
    assert json.loads(render_report(a_report(3), str(TEMPLATES / "report.json.j2"))) == a_report(3)
