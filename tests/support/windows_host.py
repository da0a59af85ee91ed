# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""A stand-in for the collection ansible.windows and for IIS behind it: it records its calls and keeps a state in a file.

It runs no PowerShell. Of a script it checks that it is one of the role's and is given the parameters that it declares, and then
does to the state what the script's first line says.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

SCRIPTS = Path(__file__).resolve().parents[2] / "roles/rolling_upgrade/files/iis"
_PLUGIN = """\
import json
import re
import time
from pathlib import Path

from ansible.plugins.action import ActionBase

STATE = Path({state!r})
SCRIPTS = {{file.stem: file.read_text().strip() for file in Path({scripts!r}).glob("*.ps1")}}


def parameters_of(script):
    block = script.split("param(", 1)[1].split("\\n)", 1)[0]
    declared = re.findall(r"(\\[Parameter\\(Mandatory\\)\\] )?\\[(\\w+)\\] [$](\\w+)", block)
    return {{name: bool(mandatory) for mandatory, _type, name in declared}}


def look(state, site, dest):
    found = state["sites"].get(site)
    folder, _backslash, leaf = (found or {{"path": ""}})["path"].rpartition("\\\\")
    version = leaf if dest and folder == dest + "\\\\releases" else ""
    path, pool = (found["path"], found["pool"]) if found else ("", "")
    return False, {{"found": bool(found), "path": path, "pool": pool, "version": version, "sites": list(state["sites"])}}


def stage(state, dest, version, zip_file, checksum):
    if zip_file not in state["files"]:
        raise ValueError(f"there is no {{zip_file}}")
    del state["files"][zip_file]
    is_new = version not in state["releases"]
    state["releases"] += [version] if is_new else []
    return is_new, {{}}


def switch(state, site, pool, dest, version):
    if version not in state["releases"]:
        raise ValueError(f"There is no release '{{version}}' below {{dest}}")
    before = state["sites"][site]["path"]
    state["sites"][site]["path"] = f"{{dest}}\\\\releases\\\\{{version}}"
    return True, {{"before": before, "path": state["sites"][site]["path"], "pool": pool or state["sites"][site]["pool"]}}


class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        result = super().run(tmp, task_vars)
        state = json.loads(STATE.read_text())
        args = dict(self._task.args)
        try:
            result.update(self.act(state, args))
        except ValueError as error:
            result.update(failed=True, msg=str(error))
        STATE.write_text(json.dumps(state))
        return result

    def act(self, state, args):
        name = Path(__file__).stem
        if name == "win_copy":
            if not self._play_context.check_mode:
                state["files"][args["dest"]] = Path(args["src"]).read_bytes().hex()
            state["calls"].append([name, args["dest"]])
            return {{"changed": True}}
        if name == "win_file":
            state["calls"].append([name, args["path"]])
            return {{"changed": False}}
        script = next((stem for stem, text in SCRIPTS.items() if text == args["script"].strip()), None)
        if not script:
            raise ValueError("the script is none of the role's")
        given = args.get("parameters", {{}})
        declared = parameters_of(SCRIPTS[script])
        unknown = set(given) - set(declared)
        missing = {{name for name, mandatory in declared.items() if mandatory and given.get(name) in (None, "")}}
        if unknown or missing or args.get("error_action") != "stop":
            raise ValueError(f"{{script}}.ps1: {{sorted(unknown)}} {{sorted(missing)}} {{args.get('error_action')}}")
        if self._play_context.check_mode:
            return {{"changed": True, "skipped": True}}
        state["calls"].append([script, given])
        if script == state.get("hangs_in"):
            time.sleep(20)
        if script == state.get("killed_in"):
            raise ValueError("the connection is gone")
        if script == "look":
            changed, result = look(state, given["Site"], given["Dest"])
        elif script == "stage":
            changed, result = stage(state, given["Dest"], given["Version"], given["Zip"], given["Checksum"])
        else:
            changed, result = switch(state, given["Site"], given["Pool"], given["Dest"], given["Version"])
        return {{"changed": changed, "result": result, "output": [], "error": []}}
"""


class WindowsHost:
    """What Ansible sees of a Windows host, for the environment of the control node that ``settings`` has."""

    def __init__(self, folder: Path, path: str) -> None:
        self.file = folder / "state.json"
        self.file.parent.mkdir(parents=True, exist_ok=True)
        self.file.write_text(
            json.dumps({"sites": {"shop": {"path": path, "pool": "shop"}}, "releases": [], "files": {}, "calls": []})
        )
        plugins = folder / "collections/ansible_collections/ansible/windows/plugins"
        text = _PLUGIN.format(state=str(self.file), scripts=str(SCRIPTS))
        for name in ("win_copy", "win_file", "win_powershell"):
            for kind in ("action", "modules"):
                file = plugins / kind / f"{name}.py"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text if kind == "action" else "")
        paths = [str(folder / "collections"), *filter(None, [os.environ.get("ANSIBLE_COLLECTIONS_PATH")])]
        self.settings = {"ANSIBLE_COLLECTIONS_PATH": ":".join(paths)}

    @property
    def state(self) -> dict:
        """What the stand-in has kept."""
        return json.loads(self.file.read_text())

    def update(self, **values) -> None:
        """Change what the stand-in has kept."""
        self.file.write_text(json.dumps({**self.state, **values}))

    def path(self) -> str:
        """Return where the site leads to."""
        return self.state["sites"]["shop"]["path"]
