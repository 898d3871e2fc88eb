"""Which ids do containers get?"""

from __future__ import annotations

import pytest

from modicum.node.ids import Extent, IdMaps, NoSubordinateIds, format_map, plan_id_maps

ROOT_DEFAULT = (Extent(0, 0x70000000, 65536),)


def test_root_without_an_entry_takes_the_default() -> None:
    maps = plan_id_maps(0, 0, "root", "ann:100000:65536\n", "")
    assert maps == IdMaps(ROOT_DEFAULT, ROOT_DEFAULT, privileged=True)
    assert maps.root == (0x70000000, 0x70000000)


def test_root_with_an_entry_takes_it() -> None:
    assert plan_id_maps(0, 0, "root", "root:500000:65536", "root:600000:65536").root == (500000, 600000)


def test_an_entry_of_root_that_is_too_small_does_not_count() -> None:
    assert plan_id_maps(0, 0, "root", "root:500000:1000", "").uids == ROOT_DEFAULT


def test_a_user_is_root_inside_and_has_his_range_behind() -> None:
    maps = plan_id_maps(1000, 1001, "ann", "bob:1:65536\nann:200000:65536\n", "ann:300000:65536\n")
    assert maps.uids == (Extent(0, 1000, 1), Extent(1, 200000, 65535))
    assert maps.gids == (Extent(0, 1001, 1), Extent(1, 300000, 65535))
    assert not maps.privileged
    assert format_map(maps.uids) == "0 1000 1\n1 200000 65535\n"


def test_an_entry_may_name_the_number() -> None:
    assert plan_id_maps(1000, 1000, "ann", "1000:200000:65536", "1000:200000:65536").uids[1].outside == 200000


@pytest.mark.parametrize("text", ["", "bob:100000:65536", "ann:100000:1000", "nonsense\nann:x:y"])
def test_a_user_without_a_range_is_told_the_command(text: str) -> None:
    with pytest.raises(NoSubordinateIds, match=r"usermod --add-subuids \d+-\d+ --add-subgids \d+-\d+ ann"):
        plan_id_maps(1000, 1000, "ann", text, text)


def test_the_command_names_a_free_range() -> None:
    with pytest.raises(NoSubordinateIds, match="--add-subuids 165536-231071 "):  # 100000 + 65536, + 65535
        plan_id_maps(1000, 1000, "ann", "bob:100000:65536", "bob:100000:65536")


EVERYTHING = "         0          0 4294967295\n"


@pytest.mark.parametrize(("uid_map", "fits"), [(EVERYTHING, True), ("0 0 1\n", False), ("0 100000 65536\n", False)])
def test_a_root_of_few_ids_is_told_so(uid_map: str, fits: bool) -> None:
    if fits:
        assert plan_id_maps(0, 0, "root", "", "", (uid_map, uid_map)).uids == ROOT_DEFAULT
        return
    with pytest.raises(NoSubordinateIds, match="needs those from 1879048192 to 1879113727"):
        plan_id_maps(0, 0, "root", "", "", (uid_map, uid_map))


def test_a_root_of_few_ids_may_name_some_of_them() -> None:
    named = "root:1000:65536"
    maps = plan_id_maps(0, 0, "root", named, named, ("0 100000 100000\n", "0 100000 100000\n"))
    assert maps.root == (1000, 1000)
