# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Where on a page everything of a report stands: phases, hosts and availability over one axis of time."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import NamedTuple

from .._moments import in_words, parse_time, union

WIDTH = 1000.0
LEFT = 180.0
ROW = 22.0
BAR = 14.0
TOP = 30.0
LATENCY_HEIGHT = 90.0
_BREAK = 46.0  # how wide a pause is drawn that would take too much of the axis
_LONG_PAUSE = 0.15  # a pause longer than this share of what the release did is drawn as a break
_LEAST_SPAN = timedelta(seconds=1)  # what is a moment has a place on the axis too
_LEAST_BAR = 1.5
_LEAST_FAILURE = 5.0
_TICKS = 8
_TICK_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400)
_TEXT_NEEDS = 7.0  # what a letter of a bar's text takes


class TimeAxis:
    """Places times on a line, with long pauses, such as the soak, cut short.

    Parameters:
        spans: (from, to) as datetimes, of all that is to be seen.
        left, right: where the line begins and ends.
    """

    def __init__(self, spans: list[tuple[datetime, datetime]], left: float, right: float) -> None:
        self.pieces: list[tuple[datetime, datetime, float, float]] = []
        merged = union((start, max(end, start + _LEAST_SPAN)) for start, end in spans)
        busy = sum((end - start).total_seconds() for start, end in merged)
        pieces: list[list[datetime]] = []
        for start, end in merged:
            if pieces and (start - pieces[-1][1]).total_seconds() <= busy * _LONG_PAUSE:
                pieces[-1][1] = end
            else:
                pieces.append([start, end])
        shown = sum((end - start).total_seconds() for start, end in pieces)
        room = right - left - _BREAK * (len(pieces) - 1)
        at = left
        for start, end in pieces:
            wide = room * (end - start).total_seconds() / shown
            self.pieces.append((start, end, at, at + wide))
            at += wide + _BREAK

    def x(self, time: datetime) -> float:
        """Return where a time stands; inside of a pause between the two pieces around it, outside of all at the nearest end."""
        before = None
        for start, end, left, right in self.pieces:
            if time < start:
                return round(left if before is None else (before + left) / 2, 1)
            if time <= end:
                share = (time - start) / (end - start)
                return round(left + (right - left) * share, 1)
            before = right
        return round(before if before is not None else LEFT, 1)

    def ticks(self) -> list[dict]:
        """Return x and label of full steps of the clock, UTC; the first one of another day has its date."""
        shown = sum((end - start).total_seconds() for start, end, _left, _right in self.pieces)
        step = next((step for step in _TICK_STEPS if shown / step <= _TICKS), _TICK_STEPS[-1])
        found: list[dict] = []
        day = self.pieces[0][0].date()
        for start, end, _left, _right in self.pieces:
            midnight = start.replace(hour=0, minute=0, second=0, microsecond=0)
            passed = (start - midnight).total_seconds()
            time = midnight + timedelta(seconds=-(-passed // step) * step)
            while time <= end:
                date = "" if time.date() == day else time.strftime("%d %b ")
                found.append({"x": self.x(time), "label": date + time.strftime("%H:%M:%S" if step < 60 else "%H:%M")})
                day = time.date()
                time += timedelta(seconds=step)
        return found

    def breaks(self) -> list[dict]:
        """Return x and label of the pauses that are cut short."""
        return [
            {"x": round((end_x + next_x) / 2, 1), "label": in_words((start - end).total_seconds())}
            for (_start, end, _left, end_x), (start, _end, next_x, _right) in zip(self.pieces, self.pieces[1:])
        ]


def figures(report: dict) -> list[dict]:
    """Return the handful of numbers that a report begins with: label and value, both for people."""
    ready = sum(host["state"] == "ready" for host in report["hosts"])
    rolling = [phase for phase in report["phases"] if phase["name"] == "rolling upgrade"]
    scripts = [script for script in report["scripts"] if script["state"] == "applied"]
    found = [
        {"label": "hosts ready", "value": f"{ready} of {len(report['hosts'])}"},
        {"label": "scripts applied", "value": str(len(scripts))},
        {"label": "rolling upgrade", "value": in_words(sum(phase["seconds"] for phase in rolling)) if rolling else "not begun"},
    ]
    if probes := report["probes"]:
        failed, requests, down = (sum(probe[name] for probe in probes) for name in ("failed", "requests", "downtime_ms"))
        found += [
            {"label": "requests failed, as probed", "value": f"{failed} of {requests}"},
            {"label": "downtime, as probed", "value": in_words(down / 1000)},
            {"label": "longest gap", "value": in_words(max(probe["longest_gap_ms"] for probe in probes) / 1000)},
        ]
    else:
        found.append({"label": "downtime", "value": "not measured"})
    return found


def chart(report: dict) -> dict:
    """Return the drawing of a report: plain numbers and texts, so that a template only writes them down.

    Parameters:
        report: as the module ``release_report`` returns it.

    Returns:
        width, height, left, plot_bottom, ticks (x, label), breaks (x, label), rows (label, y, middle, bars), latency
        (None without a probe). A bar is x, width, kind, text (empty where it does not fit), title.
    """
    axis = TimeAxis(_spans(report), LEFT, WIDTH - 30)
    rows = [_row("phases", [_bar(axis, span, span["name"], _phase_title(span)) for span in report["phases"]])]
    rows += _work_rows(axis, "scripts", report["scripts"], "script")
    rows += _work_rows(axis, "backfills", report["backfills"], "version")
    for host in report["hosts"]:
        steps = [_bar(axis, step, step["state"], _step_title(host["host"], step)) for step in host["steps"]]
        rows.append(_row(host["host"], steps, f"{host['version_before'] or '?'} to {host['version_after'] or '?'}"))
    y = TOP
    for row in rows:
        row.update(y=y, middle=y + ROW / 2)
        y += ROW
    drawn = {
        "width": WIDTH,
        "left": LEFT,
        "top": TOP,
        "bar_height": BAR,
        "row_height": ROW,
        "ticks": axis.ticks(),
        "breaks": axis.breaks(),
        "rows": rows,
        "latency": None,
    }
    if report["probes"]:
        drawn["latency"] = _latency(axis, report["probes"], y + 12)
        y = drawn["latency"]["bottom"] + 6
    return {**drawn, "plot_bottom": y, "height": y + 18}


def _spans(report: dict) -> list[tuple[datetime, datetime]]:
    told = [*report["phases"], *(step for host in report["hosts"] for step in host["steps"])]
    spans = [(parse_time(each["from"]), parse_time(each["to"])) for each in told]
    spans += [(parse_time(probe["started_at"]), parse_time(probe["ended_at"])) for probe in report["probes"]]
    if not spans:
        opened = parse_time(report["release"]["opened_at"])
        spans = [(opened, opened + timedelta(seconds=1))]
    # What takes no time at all must be seen, too.
    margin = max(sum((end - start).total_seconds() for start, end in union(spans)) / 100, 0.5)
    return [(start - timedelta(seconds=margin), end + timedelta(seconds=margin)) for start, end in spans]


def _row(label: str, bars: list[dict], note: str = "") -> dict:
    return {"label": label, "note": note, "bars": bars}


def _bar(axis: TimeAxis, span: dict, kind: str, title: str) -> dict:
    left, right = axis.x(parse_time(span["from"])), axis.x(parse_time(span["to"]))
    width = round(max(right - left, _LEAST_FAILURE if kind == "failed" else _LEAST_BAR), 1)
    text = kind if width > len(kind) * _TEXT_NEEDS else ""
    return {"x": left, "width": width, "kind": kind.replace(" ", "-"), "text": text, "title": title}


def _work_rows(axis: TimeAxis, label: str, work: list[dict], name: str) -> list[dict]:
    done = [{**row, "from": row["started_at"], "to": row["finished_at"]} for row in work if row["finished_at"]]
    if not done:
        return []
    bars = []
    for row in done:
        kind = "applied" if row["state"] in ("applied", "finished") else "failed"
        bars.append({**_bar(axis, row, kind, f"{row[name]}: {row['state']} in {in_words(row['seconds'])}"), "text": ""})
    return [_row(label, bars)]


def _phase_title(span: dict) -> str:
    return f"{span['name']}: {in_words(span['seconds'])}, ended as {span['state']}"


def _step_title(host: str, step: dict) -> str:
    reason = f": {step['reason']}" if step["reason"] else ""
    took = f" for {in_words(step['seconds'])}" if step["seconds"] else f" at {step['from'][11:19]}"
    return f"{host} {step['state'].replace('_', ' ')}{took}{reason}"


def _latency(axis: TimeAxis, probes: list[dict], top: float) -> dict:
    """Return what the probe saw: a strip of answered and failed seconds, and below it the lines of the latency."""
    plot = top + ROW + 10
    runs = [_buckets(probe) for probe in probes]
    values = [value for run in runs for bucket in run for value in (bucket.p50, bucket.p99) if value is not None]
    highest = _round_up(max(values, default=1.0))
    return {
        "top": top,
        "middle": top + ROW / 2,
        "plot": plot,
        "bottom": plot + LATENCY_HEIGHT,
        "strip": [drawn for run in runs for drawn in _strip(axis, run)],
        "down": [drawn for probe in probes for drawn in _down(axis, probe)],
        "lines": [
            {"name": name, "path": " ".join(_path(axis, run, name, plot, highest) for run in runs)} for name in ("p50", "p99")
        ],
        "scale": [{"y": plot + LATENCY_HEIGHT * (1 - part), "label": f"{highest * part:g} ms"} for part in (0, 0.5, 1)],
    }


class _Bucket(NamedTuple):
    start: datetime
    end: datetime
    requests: int
    failed: int
    p50: float | None
    p99: float | None


def _buckets(probe: dict) -> list[_Bucket]:
    start, wide = parse_time(probe["started_at"]), timedelta(seconds=probe["detail"]["bucket_s"])
    times = ((start + timedelta(seconds=bucket[0]), bucket) for bucket in probe["detail"]["buckets"])
    return [_Bucket(time, time + wide, *bucket[1:5]) for time, bucket in times]


def _down(axis: TimeAxis, probe: dict) -> list[dict]:
    bars = []
    for begun, over in probe["detail"]["down"]:
        start, end = (parse_time(probe["started_at"]) + timedelta(seconds=seconds) for seconds in (begun, over))
        width = round(max(axis.x(end) - axis.x(start), _LEAST_BAR), 1)
        bars.append({"x": axis.x(start), "width": width, "title": f"down for {in_words(over - begun)} from {start:%H:%M:%S}"})
    return bars


def _strip(axis: TimeAxis, buckets: list[_Bucket]) -> list[dict]:
    """Return runs of buckets that were alike, answered or with failures, as bars."""
    runs: list[list[_Bucket]] = []
    for bucket in buckets:
        if not bucket.requests:
            continue
        last = runs[-1][-1] if runs else None
        if last and last.end == bucket.start and bool(last.failed) == bool(bucket.failed):
            runs[-1].append(bucket)
        else:
            runs.append([bucket])
    bars = []
    for run in runs:
        left, right = axis.x(run[0].start), axis.x(run[-1].end)
        requests, failed = sum(bucket.requests for bucket in run), sum(bucket.failed for bucket in run)
        kind, title = "failed" if failed else "answered", f"{run[0].start:%H:%M:%S}: {requests} requests, {failed} failed"
        bars.append({"x": left, "width": round(max(right - left, _LEAST_BAR), 1), "kind": kind, "title": title})
    return bars


def _path(axis: TimeAxis, buckets: list[_Bucket], name: str, plot: float, highest: float) -> str:
    """Return the path of an SVG through the middles of buckets; it is lifted where nothing was answered."""
    words, is_down = [], False
    for bucket in buckets:
        value = getattr(bucket, name)
        if value is not None:
            y = plot + LATENCY_HEIGHT * (1 - min(value / highest, 1))
            words.append(f"{'L' if is_down else 'M'}{axis.x(bucket.start + (bucket.end - bucket.start) / 2):g} {y:.1f}")
        is_down = value is not None
    return " ".join(words)


def _round_up(value: float) -> float:
    """Return the next of 1, 2, 5, 10, 20, 50 and so on."""
    step = 1.0
    while True:
        for factor in (1, 2, 5):
            if value <= step * factor:
                return step * factor
        step *= 10
