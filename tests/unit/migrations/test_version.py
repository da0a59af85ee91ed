"""The grammar and order of versions."""

import pytest
from ansible_collections.everup.deploy.plugins.module_utils._migrations.version import Version, parse_name


@pytest.mark.parametrize(
    ("stem", "version", "description"),
    [
        ("0007_add_profile_id", "0007", "add_profile_id"),
        ("2.4.0_add_x", "2.4.0", "add_x"),
        ("20261120093000_x", "20261120093000", "x"),
        ("2026-11-20_01_x", "2026-11-20_01", "x"),
        ("V7__x", "7", "x"),
        ("V7_1__x", "7_1", "x"),
        ("V7.1__2fa", "7.1", "2fa"),
        ("0007_2fa_table", "0007", "2fa_table"),
        ("7_Größe", "7", "Größe"),
    ],
)
def test_names(stem, version, description):
    found = parse_name(stem)
    assert (str(found[0]), found[1]) == (version, description)


@pytest.mark.parametrize(
    "stem", ["", "x", "add_7", "7", "7_", "7__x", "_7_x", "7.x_y", "V7_x", "v7__x", "V__x", "V7__", "\u0667_x", "7 x"]
)
def test_no_names(stem):
    with pytest.raises(ValueError, match=r"the name is not VERSION_description\.sql"):
        parse_name(stem)


def test_order():
    texts = ["1", "1.0.1", "1.9", "1.10", "2", "0007", "2026-11-20_01", "2026-11-20_02", "20261120093000"]
    assert [str(version) for version in sorted(map(Version, reversed(texts)))] == texts


def test_zeros_do_not_count():
    assert len({Version(text) for text in ("7", "0007", "7.0", "7_0.0", "V7", " 7 ")}) == 1
    assert Version("7.0.1") != Version("7.1")
    assert Version("0") < Version("0.1")


def test_a_version_is_no_text():
    assert Version("7") != "7"
    with pytest.raises(TypeError):
        assert Version("7") < "8"


@pytest.mark.parametrize("text", ["", "a", "1.", ".1", "1..2", "1.2b", "-1", "VV1", "1\n2"])
def test_no_versions(text):
    with pytest.raises(ValueError, match="is no version"):
        Version(text)
