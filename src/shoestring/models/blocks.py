"""Blocks of a network from its input to its head, and which of them a `--tune` setting names."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from shoestring.errors import UserError, unknown
from shoestring.models.heads import head_module, head_weights

HEAD = "head"
_CONTAINERS = (nn.Sequential, nn.ModuleList)


def find_blocks(module: nn.Module, heads: Collection[str]) -> dict[str, list[str]]:
    """Return the names of the parameters of each block, in order; the last block is the head.

    A block is a part of the network (`conv_stem`), or a part of a sequence of them (`layer3.0`, `blocks.5`). Parts that
    only normalize belong to the block before them.
    """
    own = {id(weight) for weight in (*head_weights(module, heads), *head_module(module, heads).parameters())}
    names = [name for name, _ in module.named_parameters()]
    layers = {name.rpartition(".")[0] for name, weight in module.named_parameters() if id(weight) in own}
    blocks: dict[str, list[str]] = {}
    head, last = [], ""
    for name in names:
        if name.rpartition(".")[0] in layers:
            head.append(name)
            continue
        block = _block_of(module, name)
        if block not in blocks and last and _only_normalizes(module, block):
            block = last
        blocks.setdefault(block, []).append(name)
        last = block
    return {**blocks, HEAD: head}


def block_modules(module: nn.Module) -> dict[str, nn.Module]:
    """Return the modules that a network consists of by their names: its parts, and those of sequences of parts."""
    found: dict[str, nn.Module] = {}
    for name, part in module.named_children():
        if isinstance(part, _CONTAINERS) and len(part) > 1:
            found.update({f"{name}.{inner}": child for inner, child in part.named_children()})
        else:
            found[name] = part
    return found


def _block_of(module: nn.Module, name: str) -> str:
    first, _, rest = name.partition(".")
    child = getattr(module, first)
    if rest and isinstance(child, _CONTAINERS) and len(child) > 1:
        return f"{first}.{rest.partition('.')[0]}"
    return first


def _only_normalizes(module: nn.Module, block: str) -> bool:
    part = module
    for name in block.split("."):
        part = getattr(part, name)
    return isinstance(part, nn.Module) and all(weight.ndim < 2 for weight in part.parameters())


def tuned_blocks(tune: str, blocks: Collection[str], *, name: str) -> list[str]:
    """Return the blocks that a `--tune` setting names, in order; the head is always one of them.

    The setting is `head`, `all`, `last:2` (the head and the two blocks before it), or names of blocks, of sequences of
    them (`layer3`) or of parts of their names (`denseblock3`). Raises `UserError` for a name of no block.
    """
    body = [block for block in blocks if block != HEAD]
    kind, colon, number = tune.partition(":")
    if tune == "all":
        return [*body, HEAD]
    if kind == "last" and colon:
        if not number.isascii() or not number.isdigit():
            raise UserError(f"--tune last:N takes a number of blocks, such as last:2, not '{tune}'.")
        return [*body[len(body) - min(int(number), len(body)) :], HEAD]
    selected = set()
    for part in map(str.strip, tune.split(",")):
        matching = [block for block in blocks if _matches(block, part)]
        if not matching:
            known = {"all", HEAD, "last:2", *body, *(block.partition(".")[0] for block in body)}
            raise unknown(f"block of {name}", part, known)
        selected.update(matching)
    return [*(block for block in body if block in selected), HEAD]


def _matches(block: str, name: str) -> bool:
    return bool(name) and (block == name or block.startswith(f"{name}.") or name in block.split("."))
