from __future__ import annotations

import pytest

from shoestring.config.head import HEADS, HeadKind
from shoestring.config.recipe import Train
from shoestring.errors import UserError


@pytest.mark.parametrize(
    ("text", "hidden", "printed"),
    [
        ("linear", (), "linear"),
        ("cosine", (), "cosine"),
        ("mlp", (256, 64), "mlp:256,64"),
        ("mlp:32", (32,), "mlp:32"),
        ("mlp:128, 64,8", (128, 64, 8), "mlp:128,64,8"),
    ],
)
def test_heads_are_parsed_and_printed(text, hidden, printed):
    head = HeadKind.parse(text)
    assert (head.kind, head.hidden, str(head)) == (text.partition(":")[0], hidden, printed)
    assert HeadKind.parse(printed) == HeadKind.parse(head) == head
    assert Train(head=text).head == head


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosin", "unknown head 'cosin'. Did you mean 'cosine'"),
        ("cosine:32", "the head 'cosine' has no hidden layers"),
        ("mlp:", "needs the sizes of 1 to 8 hidden layers"),
        ("mlp:256,", "needs the sizes"),
        ("mlp:0", "each from 1 to 4096"),
        ("mlp:5000", "each from 1 to 4096"),
        ("mlp:two", "mlp:256,64, for example"),
        ("mlp:" + ",".join(["8"] * 9), "needs the sizes of 1 to 8"),
    ],
)
def test_other_heads_are_refused(text, message):
    with pytest.raises(UserError, match=message):
        HeadKind.parse(text)


def test_the_default_is_linear():
    assert Train().head is None
    assert HEADS[0] == "linear"
