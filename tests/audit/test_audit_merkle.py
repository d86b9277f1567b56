from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ai_platform.audit.merkle import (
    BLOCK,
    Frontier,
    consistency_ranges,
    consistent,
    inclusion_ranges,
    inclusion_root,
    leaf_hash,
    tree_hash,
)

# The reference inputs and hashes of the Certificate Transparency implementations (RFC 6962 trees).
INPUTS = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
PATH_5_OF_8 = [
    "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]
PROOF_6_TO_8 = [
    "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
    "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
]

sizes = st.integers(1, 300)


def naive(nodes: list[bytes]) -> bytes:
    """MTH as RFC 9162 section 2.1.1 defines it."""
    if not nodes:
        return sha256().digest()
    if len(nodes) == 1:
        return nodes[0]
    half = 1
    while half * 2 < len(nodes):
        half *= 2
    return sha256(b"\x01" + naive(nodes[:half]) + naive(nodes[half:])).digest()


def hashes(count: int) -> list[bytes]:
    return [leaf_hash(b"%d" % number) for number in range(count)]


@pytest.mark.requirement("AU-3")
def test_roots_are_those_of_the_reference_implementations() -> None:
    frontier = Frontier()
    for data, root in zip(INPUTS, ROOTS, strict=True):
        frontier.append(leaf_hash(data))
        assert frontier.root().hex() == root
    assert Frontier().root() == sha256().digest()


@pytest.mark.requirement("AU-3")
def test_proofs_are_those_of_the_reference_implementations() -> None:
    nodes = [leaf_hash(data) for data in INPUTS]
    assert [tree_hash(nodes[low:high]).hex() for low, high in inclusion_ranges(5, 8)] == PATH_5_OF_8
    assert [tree_hash(nodes[low:high]).hex() for low, high in consistency_ranges(6, 8)] == PROOF_6_TO_8


@given(st.integers(0, 300))
def test_a_frontier_has_the_root_of_the_definition_and_survives_storing(count: int) -> None:
    frontier = Frontier()
    for node in hashes(count):
        frontier.append(node)
    assert frontier.root() == naive(hashes(count))
    again = Frontier.from_bytes(count, frontier.to_bytes())
    assert again.root() == frontier.root()
    again.append(leaf_hash(b"more"))
    assert frontier.size == count


@given(st.lists(st.binary(max_size=20), max_size=80), st.integers(0, 80))
def test_adding_leaves_in_bulk_is_the_same_as_adding_them_one_by_one(leaves: list[bytes], split: int) -> None:
    bulk, single = Frontier(), Frontier()
    bulk.extend_leaves(leaves[:split])
    bulk.extend_leaves(leaves[split:])
    for data in leaves:
        single.append(leaf_hash(data))
    assert (bulk.size, bulk.to_bytes()) == (single.size, single.to_bytes())


@pytest.mark.requirement("AU-3")
@given(sizes.flatmap(lambda size: st.tuples(st.integers(0, size - 1), st.just(size))))
def test_every_leaf_is_proven_by_its_path_and_by_no_other_path(pair: tuple[int, int]) -> None:
    index, size = pair
    nodes = hashes(size)
    root = naive(nodes)
    path = [naive(nodes[low:high]) for low, high in inclusion_ranges(index, size)]
    assert inclusion_root(nodes[index], index, size, path) == root
    assert inclusion_root(leaf_hash(b"other"), index, size, path) != root
    assert inclusion_root(nodes[index], index, size, [*path, nodes[0]]) is None
    assert inclusion_root(nodes[index], size, size, path) is None
    if path:
        assert inclusion_root(nodes[index], index, size, path[:-1]) is None
        assert inclusion_root(nodes[index], index, size, [*path[:-1], leaf_hash(b"other")]) != root


@pytest.mark.requirement("AU-3")
@given(sizes.flatmap(lambda size: st.tuples(st.integers(1, size), st.just(size))))
def test_a_longer_tree_is_proven_to_continue_a_shorter_one(pair: tuple[int, int]) -> None:
    first, second = pair
    nodes = hashes(second)
    old, new = naive(nodes[:first]), naive(nodes)
    path = [naive(nodes[low:high]) for low, high in consistency_ranges(first, second)]
    assert consistent(first, old, second, new, path)
    assert not consistent(first, leaf_hash(b"other"), second, new, path)
    assert not consistent(first, old, second, leaf_hash(b"other"), path)
    assert not consistent(first, old, second, new, [*path, nodes[0]])
    if path:
        assert not consistent(first, old, second, new, path[:-1])


@given(st.integers(0, 900))
def test_the_hash_of_each_block_of_256_leaves_is_handed_out_once_when_it_is_complete(count: int) -> None:
    frontier = Frontier()
    nodes = hashes(count)
    blocks = [block for node in nodes if (block := frontier.append(node))]
    assert blocks == [naive(nodes[at : at + BLOCK]) for at in range(0, count - BLOCK + 1, BLOCK)]
    rest = nodes[count // BLOCK * BLOCK :]
    assert tree_hash([*blocks, naive(rest)] if rest else blocks) == naive(nodes)


@pytest.mark.parametrize(("size", "stored"), [(1, b""), (3, b"x" * 32), (1, b"short"), (0, b"x" * 32)])
def test_a_stored_frontier_that_cannot_be_one_is_refused(size: int, stored: bytes) -> None:
    with pytest.raises(ValueError, match="peaks"):
        Frontier.from_bytes(size, stored)
