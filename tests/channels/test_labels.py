from __future__ import annotations

import torch

from shoestring.channels.labels import FROZEN, Labels


def _joined(labels: Labels, one: torch.Tensor, other: torch.Tensor) -> bool:
    return torch.equal(labels.find(one), labels.find(other))


def test_joining_is_transitive_whatever_the_order():
    labels = Labels()
    a, b, c, d = (labels.fresh(4) for _ in range(4))
    labels.join(d, c)
    labels.join(a, b)
    assert not _joined(labels, a, c)
    labels.join(b, d)
    assert _joined(labels, a, c)
    assert len(labels.find(c).unique()) == 4


def test_joining_chains_and_clashes_in_one_call():
    labels = Labels()
    a = labels.fresh(6)
    labels.join(a[:-1], a[1:])
    assert len(labels.find(a).unique()) == 1
    b = labels.fresh(3)
    labels.join(b[[2, 2]], a[:1].expand(2))
    assert len(labels.find(b).unique()) == 3
    assert labels.find(b)[2] == labels.find(a)[0]


def test_joining_matches_brute_force():
    torch.manual_seed(0)
    labels = Labels()
    nodes = labels.fresh(40)
    edges = torch.randint(0, 40, (2, 25))
    labels.join(nodes[edges[0]], nodes[edges[1]])
    reach = torch.eye(40, dtype=torch.bool)
    reach[edges[0], edges[1]] = reach[edges[1], edges[0]] = True
    for _ in range(40):
        reach = (reach.float() @ reach.float()) > 0
    roots = labels.find(nodes)
    assert torch.equal(roots[:, None] == roots[None, :], reach)


def test_frozen_labels_keep_their_first_reason():
    labels = Labels()
    a = labels.fresh(3)
    labels.freeze(a[:2], "first")
    labels.freeze(a[1:], "second")
    assert labels.find(a).tolist() == [FROZEN] * 3
    assert [labels.why(one) for one in a.split(1)] == [["first"], ["first"], ["second"]]
    labels.join(a[0], a[2])
    assert labels.why(a) == ["first", "second"]


def test_there_are_never_too_many_reasons():
    labels = Labels()
    a = labels.fresh(300)
    for index, one in enumerate(a):
        labels.freeze(one, f"reason {index}")
    assert labels.why(a[:1]) == ["reason 0"]
    assert len(labels.why(a)) < 100
    assert "many" in labels.why(a[-1:])[0]


def test_along_couples_all_other_axes():
    labels = Labels()
    a = labels.fresh(3)
    maps = a.view(1, 3, 1, 1).expand(2, 3, 4, 5)
    assert torch.equal(labels.along(maps, 1), a)
    assert [labels.varies(maps, dim) for dim in range(4)] == [False, True, False, False]
    table = labels.fresh(2, 3)
    assert torch.equal(labels.find(labels.along(table, 1)), table[0])
    assert torch.equal(labels.find(table), table[:1].expand(2, 3))
    labels.join(table, a.expand(2, 3))
    assert torch.equal(labels.find(labels.along(table, -1)), a)
    assert len(labels.find(labels.along(maps, 2)).unique()) == 1
    assert not labels.varies(maps, 1)


def test_empty_axes_are_no_trouble():
    labels = Labels()
    nothing = labels.fresh(0)
    assert not labels.varies(nothing, 0)
    assert len(labels.along(nothing, 0)) == 0
    labels.freeze(nothing)
