from __future__ import annotations

from envdoctor.knowledge.catalogue import CATALOGUE, doubts_of, key_of, names_of, near, rows_named, rows_of, summary
from envdoctor.knowledge.load import Knowledge

FACTS = Knowledge()


def test_a_row_is_found_by_its_key_whatever_its_case() -> None:
    assert [row.source for row in rows_named(FACTS, "torch", "2.7.1")] == ["pkg:pypi/torch@2.7.1"]
    by_name = rows_named(FACTS, "gpus", "nvidia geforce rtx 3060")
    assert by_name == rows_named(FACTS, "gpus", "nvidia NVIDIA GeForce RTX 3060")
    assert len(by_name) == 1
    assert rows_named(FACTS, "torch", "2.7") == ()


def test_one_word_of_a_key_can_name_several_rows() -> None:
    assert len(rows_named(FACTS, "cudnn_packages", "9.10.2.21")) == 2
    assert len(rows_named(FACTS, "cudnn", "9.10.2")) == 3


def test_names_are_as_short_as_they_can_be() -> None:
    assert "NVIDIA GeForce RTX 3060" in names_of(FACTS, "gpus")
    assert "nvidia-cudnn-cu12 9.10.2.21" in names_of(FACTS, "cudnn_packages")
    for table in CATALOGUE:
        for name, row in zip(names_of(FACTS, table), rows_of(FACTS, table), strict=True):
            found = rows_named(FACTS, table, name)
            assert row in found
            # Some names differ from another by their case alone: RTX 2070 SUPER, and Super on laptops.
            assert len({key_of(table, each)[-1].lower() for each in found}) == 1, (table, name)


def test_near_names() -> None:
    assert near("tensorfow", tuple(CATALOGUE))[0] == "tensorflow"
    assert near("rtx 3060", names_of(FACTS, "gpus"))[0] == "NVIDIA GeForce RTX 3060"
    assert near("CUDNN", tuple(CATALOGUE))[:3] == ("cudnn", "cudnn_packages", "cudnn_libraries")
    assert near("zzzz", tuple(CATALOGUE)) == ()


def test_a_summary_counts_what_the_rows_say() -> None:
    for table in CATALOGUE:
        rows = rows_of(FACTS, table)
        found = summary(table)
        assert found.name == table
        assert found.rows == len(rows)
        assert (found.oldest, found.newest) == (min(r.checked for r in rows), max(r.checked for r in rows))
        assert found.doubtful == sum(bool(row.doubt) for row in rows)
        assert found.title


def test_every_doubt_of_a_row_is_found() -> None:
    (release,) = rows_named(FACTS, "torch", "2.14.1")
    assert [whose for whose, _ in doubts_of(release)] == ["", "cu130 ptx", "cu132 ptx"]
    (release,) = rows_named(FACTS, "jax", "0.8.0")
    assert [whose for whose, _ in doubts_of(release)] == ["cuda12 capability"]
    (family,) = rows_named(FACTS, "cuda_families", "13")
    assert [whose for whose, _ in doubts_of(family)] == ["windows"]
    (certain,) = rows_named(FACTS, "tensorflow", "2.15.0")
    assert doubts_of(certain) == ()
