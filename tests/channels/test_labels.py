from __future__ import annotations

import torch

from shoestring.channels.labels import FROZEN, Labels


def _united(labels: Labels, first: torch.Tensor, second: torch.Tensor) -> bool:
    return torch.equal(labels.find(first), labels.find(second))


def test_union_is_transitive_in_any_order():
    labels = Labels()
    a, b, c, d = (labels.new(4) for _ in range(4))
    labels.union(d, c)
    labels.union(a, b)
    assert not _united(labels, a, c)
    labels.union(b, d)
    assert _united(labels, a, c)
    assert len(labels.find(c).unique()) == 4


def test_union_of_chains_and_repeated_labels_in_one_call():
    labels = Labels()
    a = labels.new(6)
    labels.union(a[:-1], a[1:])
    assert len(labels.find(a).unique()) == 1
    b = labels.new(3)
    labels.union(b[[2, 2]], a[:1].expand(2))
    assert len(labels.find(b).unique()) == 3
    assert labels.find(b)[2] == labels.find(a)[0]


def test_union_matches_brute_force():
    torch.manual_seed(0)
    labels = Labels()
    nodes = labels.new(40)
    edges = torch.randint(0, 40, (2, 25))
    labels.union(nodes[edges[0]], nodes[edges[1]])
    connected = torch.eye(40, dtype=torch.bool)
    connected[edges[0], edges[1]] = connected[edges[1], edges[0]] = True
    for _ in range(40):
        connected = (connected.float() @ connected.float()) > 0
    roots = labels.find(nodes)
    assert torch.equal(roots[:, None] == roots[None, :], connected)


def test_frozen_labels_keep_their_first_reason():
    labels = Labels()
    a = labels.new(3)
    labels.freeze(a[:2], "first")
    labels.freeze(a[1:], "second")
    assert labels.find(a).tolist() == [FROZEN] * 3
    assert [labels.reasons(one) for one in a.split(1)] == [["first"], ["first"], ["second"]]
    labels.union(a[0], a[2])
    assert labels.reasons(a) == ["first", "second"]


def test_the_number_of_reasons_is_limited():
    labels = Labels()
    a = labels.new(300)
    for index, one in enumerate(a):
        labels.freeze(one, f"reason {index}")
    assert labels.reasons(a[:1]) == ["reason 0"]
    assert len(labels.reasons(a)) < 100
    assert "too many" in labels.reasons(a[-1:])[0]


def test_along_unites_all_other_axes():
    labels = Labels()
    a = labels.new(3)
    maps = a.view(1, 3, 1, 1).expand(2, 3, 4, 5)
    assert torch.equal(labels.along(maps, 1), a)
    assert [labels.varies(maps, dim) for dim in range(4)] == [False, True, False, False]
    table = labels.new(2, 3)
    assert torch.equal(labels.find(labels.along(table, 1)), table[0])
    assert torch.equal(labels.find(table), table[:1].expand(2, 3))
    labels.union(table, a.expand(2, 3))
    assert torch.equal(labels.find(labels.along(table, -1)), a)
    assert len(labels.find(labels.along(maps, 2)).unique()) == 1
    assert not labels.varies(maps, 1)


def test_empty_axes():
    labels = Labels()
    empty = labels.new(0)
    assert not labels.varies(empty, 0)
    assert len(labels.along(empty, 0)) == 0
    labels.freeze(empty)
