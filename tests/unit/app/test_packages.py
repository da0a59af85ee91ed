# Copyright: Contributors to the everup.deploy project
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Which version of a package or an image a version of the application is."""

from __future__ import annotations

import pytest
from ansible_collections.everup.deploy.plugins.filter.strategies import missing_collections
from ansible_collections.everup.deploy.plugins.module_utils._app.containers import container_version, image_leftovers
from ansible_collections.everup.deploy.plugins.module_utils._app.packages import (
    Package,
    choose,
    names_of,
    parse_dpkg,
    parse_evrs,
    parse_madison,
    refusals,
    specs,
    version_in,
)

MADISON = """\
      shop |  1:2.0.0-2 | http://deb.example.com stable/main amd64 Packages
      shop |  1:2.0.0-1 | http://deb.example.com stable/main amd64 Packages
      shop |  1:2.0.0-2 | http://mirror.example.com stable/main amd64 Packages
      shop |  1.9.0-1 | http://deb.example.com stable/main Sources
"""


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("", (None, False, False)),
        ("install installed 1:2.0.0-1\n", ("1:2.0.0-1", False, False)),
        ("hold installed 2.0.0\n", ("2.0.0", True, False)),
        ("install triggers-pending 2.0.0\n", ("2.0.0", False, False)),
        ("install half-configured 2.0.0\n", (None, False, True)),
        ("install unpacked 2.0.0\n", (None, False, True)),
        ("deinstall config-files 2.0.0\n", (None, False, False)),
        ("unknown not-installed \n", (None, False, False)),
    ],
)
def test_only_what_dpkg_calls_whole_is_installed(output, expected):
    assert parse_dpkg("shop", output) == expected


def test_versions_of_apt_come_newest_first_once_and_without_sources():
    assert parse_madison(MADISON) == ["1:2.0.0-2", "1:2.0.0-1"]


def test_versions_of_dnf_are_sorted_as_rpm_does():
    told = "0:2.0.0-9\n\n0:2.0.0-10\n0:2.0.0~rc1-1\n1:0.1-1\n0:10.0-1\n0:2.0.0-9\n0:2.0.0^git1-1\nLast metadata check\n"
    expected = ["1:0.1-1", "10.0-1", "2.0.0^git1-1", "2.0.0-10", "2.0.0-9", "2.0.0~rc1-1"]
    assert parse_evrs(told) == expected


@pytest.mark.parametrize(
    ("manager", "version", "names"),
    [
        ("apt", "2.0.0", ["2.0.0"]),
        ("apt", "2.0.0-1", ["2.0.0", "2.0.0-1"]),
        ("apt", "1:2.0.0-rc1-1~deb12", ["2.0.0-rc1", "2.0.0-rc1-1~deb12", "1:2.0.0-rc1-1~deb12"]),
        ("dnf", "2.0.0-1.el9", ["2.0.0", "2.0.0-1.el9"]),
        ("dnf", "1:2.0.0-1.el9", ["2.0.0", "2.0.0-1.el9", "1:2.0.0-1.el9"]),
    ],
)
def test_a_version_has_its_names_without_epoch_and_revision(manager, version, names):
    assert names_of(manager, version) == names


@pytest.mark.parametrize(
    ("pattern", "versions", "expected"),
    [
        ("2.0.0", ["2.0.0-2", "2.0.0-1", "2.0.0"], "2.0.0"),
        ("2.0.0", ["2.0.0-2", "2.0.0-1"], "2.0.0-2"),
        ("2.0.0", ["1:2.0.0-2", "1.9.0-1"], "1:2.0.0-2"),
        ("2.0.0-1", ["1:2.0.0-2", "1:2.0.0-1"], "1:2.0.0-1"),
        ("1:2.0.0-1", ["1:2.0.0-2", "1:2.0.0-1"], "1:2.0.0-1"),
        ("2.0.0-*~deb12", ["2.0.0-2~deb13", "2.0.0-2~deb12"], "2.0.0-2~deb12"),
        ("2.0", ["2.0.0-1"], None),
        ("2.0.0", [], None),
    ],
)
def test_a_version_means_its_newest_revision_unless_it_names_one(pattern, versions, expected):
    assert choose("apt", pattern, versions) == expected


def test_what_is_told_to_install_has_the_joint_of_the_manager():
    assert specs("apt", [Package("shop", None, False, False, ["1:2.0.0-1"])], "2.0.0") == ["shop=1:2.0.0-1"]
    assert specs("dnf", [Package("shop", None, False, False, ["1:2.0.0-1"])], "2.0.0") == ["shop-1:2.0.0-1"]


def test_refusals_name_the_package_and_the_way_on():
    held = Package("shop", "1.0.0-1", True, False, ["2.0.0-1"])
    told = refusals("apt", [held, Package("shop-assets", None, False, False, [])], "2.0.0", "1.0.0")
    assert told[0] == "shop is held: 'apt-mark unhold shop' lets go of it"
    assert told[1].startswith("no repository has version 1.0.0 of shop, to go back to")
    assert told[2].startswith("no repository has version 2.0.0 of shop-assets, nor any other")
    offered = refusals("apt", [Package("shop", None, False, False, [f"1.{n}" for n in range(9)])], "2.0.0", None)
    assert offered == ["no repository has version 2.0.0 of shop, there are 1.0, 1.1, 1.2, 1.3, 1.4 and older ones"]
    assert refusals("apt", [held._replace(held=False)], "2.0.0", None) == []


@pytest.mark.parametrize(
    ("names", "template", "expected"),
    [
        (["2.0.0", "2.0.0-1"], "@", "2.0.0"),
        (["2.0.0", "2.0.0-1"], "@-1", "2.0.0"),
        (["2.0.0", "2.0.0-3"], "@-1", ""),
        (["2.0.0", "2.0.0-3~deb12"], "@-*", "2.0.0"),
        (["registry.example.com:5000/shop:2.0.0"], "registry.example.com:5000/shop:@", "2.0.0"),
        (["registry.example.com/shopx2.0.0"], "registry.example.com/shop.@", ""),
        (["shop-2.0.0:2.0.0"], "shop-@:@", "2.0.0"),
        (["shop-2.0.0:2.0.1"], "shop-@:@", ""),
        (["2.0.0"], "2.0.0", ""),
        ([], "@", ""),
    ],
)
def test_the_version_is_what_stands_at_the_mark(names, template, expected):
    assert version_in(names, template, "@") == expected


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        ("\n", ""),
        ('[{"everup.version": "2.0.0"}, "shop:1.0.0"]', "2.0.0"),
        ('[null, "shop:1.0.0"]', "1.0.0"),
        ('[{}, "sha256:ab"]', ""),
        ("[{}, null]", ""),
    ],
)
def test_a_container_is_of_the_version_of_its_label_or_else_of_its_image(told, expected):
    assert container_version(told, "shop:@", "@") == expected


@pytest.mark.parametrize(
    ("keep", "protected", "expected"),
    [
        (2, ["3"], ["shop:2", "shop:1"]),
        (3, ["4", "1"], ["shop:2"]),
        (1, ["4", "1"], ["shop:3", "shop:2"]),
        (9, ["4"], []),
    ],
)
def test_old_images_are_left_over_but_never_a_needed_one_or_somebody_elses(keep, protected, expected):
    images = ["shop:4", "other:4", "shop:3", "shop:3", "<none>:<none>", "shop:2", "shop:1"]
    assert image_leftovers(images, "shop:@", "@", keep, protected) == expected


def test_collections_that_are_not_installed_are_named():
    assert missing_collections(["everup.deploy", "nobody.nothing", "everup.nothing"]) == ["nobody.nothing", "everup.nothing"]
