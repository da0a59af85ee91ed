# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What is nginx's own: the file that is edited, the reload that may fail, the kill between the two."""

from __future__ import annotations

import os

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._errors import EverupError


@pytest.fixture(params=["nginx"])
def rig_class(request, rig_classes):
    """Only nginx here."""
    return rig_classes[request.param]


@pytest.fixture
def program(tmp_path):
    """Make a program that is nginx but for some arguments, for which it runs other words of the shell."""

    def make(arguments: str, instead: str) -> str:
        path = tmp_path / "nginx-but"
        path.write_text(f'#!/bin/sh\ncase "$*" in {arguments}) {instead};; esac\nexec nginx "$@"\n')
        path.chmod(0o755)
        return str(path)

    return make


def test_only_the_members_line_changes_and_comes_back_as_it_was(lb, rig):
    path = rig.server.upstream_file
    path.chmod(0o640)
    before = path.read_bytes()
    lb.move(rig, "drain")
    after = path.read_bytes()
    assert [old for old, new in zip(before.splitlines(), after.splitlines()) if old != new] == [before.splitlines()[1]]
    assert after.splitlines()[1].endswith(b" max_fails=0 down; # web1 [everup: drain]")
    lb.move(rig, "ready")
    assert path.read_bytes() == before
    assert path.stat().st_mode & 0o777 == 0o640
    assert sorted(entry.name for entry in path.parent.iterdir() if "everup" in entry.name) == []


def test_a_file_behind_a_link_is_changed_where_it_is(lb, rig):
    path = rig.server.upstream_file
    real = path.parent / "elsewhere"
    path.rename(real)
    path.symlink_to(real)
    lb.move(rig, "drain")
    assert path.is_symlink()
    assert b"[everup: drain]" in real.read_bytes()


def test_from_maint_to_drain_needs_no_reload(lb, rig, program):
    lb.move(rig, "maint")
    lb.move(rig, "drain", nginx_program=program('*"-s reload"*', "exit 9"))
    assert lb.facts(rig)["state"] == "drain"


def test_a_configuration_that_nginx_refuses_is_put_back(lb, rig, apps, program):
    before = rig.server.upstream_file.read_bytes()
    refusing = program('"-t -q"*', "echo 'nginx: [emerg] no such directive' >&2; exit 1")
    with pytest.raises(EverupError, match=r"refuses 'nginx -t -q': nginx: \[emerg\] no such directive"):
        lb.move(rig, "drain", nginx_program=refusing)
    assert rig.server.upstream_file.read_bytes() == before
    assert lb.facts(rig)["state"] == "ready"


def test_a_reload_that_does_not_happen_is_seen_and_the_file_put_back(lb, rig, program):
    before = rig.server.upstream_file.read_bytes()
    with pytest.raises(EverupError, match="has not loaded the new configuration within 1 s"):
        lb.move(rig, "drain", nginx_program=program('*"-s reload"*', "exit 0"), connect_timeout=1)
    assert rig.server.upstream_file.read_bytes() == before


def test_a_change_that_was_killed_before_the_reload_is_made_good(lb, rig, apps):
    """The file says drain, and nginx still sends requests there: the member counts as neither until a reload has been seen."""
    path = rig.server.upstream_file
    line = f"server 127.0.0.1:{apps['web1'].at[1]} max_fails=0"
    path.write_text(path.read_text().replace(f"{line}; # web1", f"{line} down; # web1 [everup: drain pending]", 1))
    assert lb.facts(rig)["state"] == "changing"
    assert lb.move(rig, "drain")["changed"] is True
    for _number in range(6):
        lb.Request(rig.port("shop"), "/").join(5)
    assert (apps["web1"].served, apps["web2"].served) == (0, 6)


@pytest.mark.parametrize("wanted", ["ready", "drain"])
def test_a_member_opened_and_killed_before_the_reload_can_go_either_way(lb, rig, apps, wanted):
    lb.move(rig, "drain")
    path = rig.server.upstream_file
    path.write_text(path.read_text().replace(" down; # web1 [everup: drain]", "; # web1 [everup: ready pending]", 1))
    assert lb.facts(rig)["state"] == "changing"
    assert lb.move(rig, wanted)["changed"] is True
    for _number in range(6):
        lb.Request(rig.port("shop"), "/").join(5)
    assert apps["web1"].served == (3 if wanted == "ready" else 0)
    assert "pending" not in path.read_text()


def test_a_member_without_a_comment_has_its_address_as_name(lb, rig, apps):
    path = rig.server.upstream_file
    path.write_text(path.read_text().replace(" # web2", ""))
    address = "127.0.0.1:{}".format(apps["web2"].at[1])
    assert [member["member"] for member in lb.info(rig, pool="shop")["members"]] == ["web1", address]
    lb.move(rig, "drain", member=address)
    assert path.read_text().splitlines()[2].endswith(" down; # [everup: drain]")


def test_a_backup_is_told_and_stays_one(lb, rig):
    path = rig.server.upstream_file
    path.write_text(path.read_text().replace("; # web2", " backup; # web2"))
    assert [member["backup"] for member in lb.info(rig, pool="shop")["members"]] == [False, True]
    lb.move(rig, "drain", member="web2")
    lb.move(rig, "ready", member="web2")
    assert " backup; # web2" in path.read_text()


@pytest.mark.parametrize("check_mode", [False, True])
def test_a_line_with_something_behind_the_member_is_refused_before_anything_is_changed(lb, rig, apps, check_mode):
    """The comment with web1's state would hide web2, which would get no request and be gone for good."""
    path = rig.server.upstream_file
    before = path.read_text().replace("; # web1\n", ";", 1)
    assert before != path.read_text()
    path.write_text(before)
    member = "127.0.0.1:{}".format(apps["web1"].at[1])
    with pytest.raises(
        EverupError, match=rf"member {member} of pool shop: .*# web2' stands behind.*a line of its own.*Nothing was"
    ):
        lb.move(rig, "drain", member=member, check_mode=check_mode)
    with pytest.raises(EverupError, match="a line of its own"):
        lb.balancer(rig).set_state("shop", member, "drain")
    assert path.read_text() == before
    lb.move(rig, "drain", member="web2")
    assert lb.served(rig, apps) == [True, False]


def test_two_members_of_one_name_are_refused(lb, rig):
    path = rig.server.upstream_file
    before = path.read_text().replace("# web2", "# web1")
    path.write_text(before)
    with pytest.raises(EverupError, match=r"has 2 members web1: give each a name of its own"):
        lb.move(rig, "drain")
    assert path.read_text() == before


def test_a_member_behind_a_unix_socket_cannot_be_counted_and_keeps_no_other_from_it(lb, rig):
    path = rig.server.upstream_file
    path.write_text(path.read_text().replace("upstream solo {", "upstream solo {\n    server unix:/run/x.sock; # local"))
    for pool in ("solo", None):
        said = rf"^Balancer {rig.address}, member local of pool solo: The connections to 'unix:/run/x\.sock' cannot be counted"
        with pytest.raises(EverupError, match=said):
            lb.info(rig, pool=pool, health_url=None)
    assert lb.facts(rig, pool="solo")["serving"] is True
    moved = lb.move(rig, "drain", pool="*")["members"]
    assert [(member["pool"], member["after"]["state"]) for member in moved] == [("shop", "drain"), ("solo", "drain")]


@pytest.mark.parametrize("written", ['"{}"', "{}"])
def test_the_process_is_found_wherever_pid_stands(lb, rig, written):
    main = rig.server.config_file
    path = f"{rig.server.folder}/nginx.pid"
    before = main.read_text()
    text = before.replace(f"worker_processes 1;\npid {path};", f"worker_processes 1; pid {written.format(path)};")
    assert text != before
    main.write_text(text)
    assert lb.move(rig, "drain")["changed"] is True


def test_a_relative_pid_is_below_the_prefix(lb, rig, program):
    main = rig.server.config_file
    main.write_text(main.read_text().replace(f"pid {rig.server.folder}/", "pid "))
    prefixed = program("-V*", f"echo 'configure arguments: --prefix={rig.server.folder} --with-x' >&2; exit 0")
    assert lb.facts(rig, nginx_program=prefixed)["state"] == "ready"


def test_a_server_that_does_not_run_is_named(lb, rig):
    rig.stop()
    with pytest.raises(EverupError, match=r"cannot be reached: nginx does not run"):
        lb.move(rig, "drain")


@pytest.mark.parametrize("address", ["nginx.conf", "127.0.0.1:80", ""])
def test_an_address_that_is_no_path_is_refused(lb, address):
    with pytest.raises(EverupError, match="is not the path of nginx's main configuration file"):
        lb.info(address)


def test_without_a_health_url_a_member_counts_as_healthy(lb, rig, apps):
    apps["web1"].health_code = 503
    assert lb.facts(rig)["health"] == "DOWN (status 503)"
    (member,) = lb.info(rig, pool="shop", member="web1", health_url=None)["members"]
    assert (member["health"], member["healthy"]) == ("no check", True)


def test_idle_connections_that_nginx_keeps_do_not_hold_up_a_drain(lb, rig):
    """With ``keepalive`` the old workers close what they keep once they are asked to end."""
    path = rig.server.upstream_file
    path.write_text(path.read_text().replace("upstream solo {", "upstream solo {\n    keepalive 4;"))
    main = rig.server.config_file
    main.write_text(main.read_text().replace("proxy_pass", 'proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass'))
    rig.stop()
    rig.start()
    lb.Request(rig.port("solo"), "/").join(5)
    lb.eventually(lambda: lb.facts(rig, pool="solo")["sessions"] == 1)
    assert lb.move(rig, "drain", pool="solo", timeout=5)["members"][0]["after"]["sessions"] == 0


def test_root_is_not_needed_to_look(lb, rig):
    assert os.access(rig.server.config_file, os.R_OK)
    assert lb.facts(rig.denied_address)["state"] == "ready"
