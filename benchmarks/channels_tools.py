"""The pruning tools of channels_coverage.py: each returns the pruned network and further entries of its row."""

from __future__ import annotations

from typing import Any


def shoestring(module: Any, example: Any) -> tuple[Any, dict[str, Any]]:
    """Drop every second channel of each group; where exact, also widen and merge, and measure the error."""
    import torch

    from shoestring.channels import drop, trace, widen
    from shoestring.channels.copying import nondegenerate_copy

    table = trace(module, example)
    cut = drop(module, table, {name: torch.arange(0, group.size, 2) for name, group in table.groups.items()})
    extra: dict[str, Any] = {"groups": len(table.groups), "notes": list(table.notes)}
    exact = {name: group for name, group in table.groups.items() if group.separable and group.copyable}
    extra["not_copyable"] = sum(not group.copyable for group in table.groups.values())
    if exact:
        module = nondegenerate_copy(module)  # a head initialized with zeros would hide errors
        extra["merge_error"] = _merge_error(module, table, exact, example)
        sizes = {name: group.size + (group.size + 1) // 2 for name, group in exact.items()}
        for mode in ("evaluation", "training"):
            expected, output = (_output(one, example, mode) for one in (module, widen(module, table, sizes)))
            extra[f"widen_error_{mode}"] = _difference(output, expected)
    return cut, extra


def _merge_error(module: Any, table: Any, groups: Any, example: Any) -> float | None:
    """Return the error of the outputs after random channels were duplicated, their weights split, and merged again.

    Groups that change when duplicated, such as those that a group norm ties together, are excluded. Returns None if no
    group remains.
    """
    import torch

    from shoestring.channels import Edit, apply_edits, merge, trace

    sources = {
        name: torch.cat([torch.arange(group.size), torch.randint(group.size, (group.size,))]).sort().values
        for name, group in groups.items()
    }
    while sources:
        duplicated = apply_edits(
            module, table, {name: Edit(source, _split(source)) for name, source in sources.items()}
        )
        retraced = trace(duplicated, example, verify=False)
        by_producers: dict[Any, list[str]] = {}
        for name, group in retraced.groups.items():
            by_producers.setdefault((group.producers, group.size), []).append(name)
        keys = {name: (groups[name].producers, len(source)) for name, source in sources.items()}
        if changed := [name for name, key in keys.items() if key not in by_producers]:
            sources = {name: source for name, source in sources.items() if name not in changed}
            continue
        # the same layers produce them, in the same order
        clusters = {by_producers[keys[name]].pop(0): source for name, source in sources.items()}
        merged = merge(duplicated, retraced, clusters)
        assert parameters(merged) == parameters(module), "merging did not bring the network back to its size"
        return _difference(_output(merged, example), _output(module, example))
    return None


def _split(source: Any) -> Any:
    """Return a transform that splits weights among the copies of a channel in random parts."""
    import torch

    parts = torch.rand(len(source)) + 0.1
    totals = torch.zeros(int(source.max()) + 1).index_add(0, source, parts)
    return lambda axis, weight: weight[..., source] * (parts / totals[source])


def _output(module: Any, example: Any, mode: str = "evaluation") -> Any:
    """Return the output, with dropout and stochastic depth disabled in training mode."""
    import copy

    import torch

    module = copy.deepcopy(module).train(mode == "training")
    for part in module.modules():
        if hasattr(part, "drop_prob") or isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.eval()
    for part in module.modules():
        if isinstance(getattr(part, "drop_rate", None), float):
            part.drop_rate = 0.0
    with torch.no_grad():
        return module(example)


def _difference(output: Any, expected: Any) -> float:
    """Return the largest difference relative to the largest output."""
    return ((output - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


def torch_pruning(module: Any, example: Any) -> tuple[Any, dict[str, Any]]:
    """Drop half of the channels of every group except the classifier by group magnitude, with default settings.

    Attention heads are passed as its documentation requires; the sizes that modules store are set afterwards.
    """
    import torch_pruning as tp

    heads = module.get_classifier()
    attention = [part for part in module.modules() if hasattr(part, "qkv") and hasattr(part, "num_heads")]
    pruner = tp.pruner.BasePruner(
        module,
        example,
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=list(heads) if isinstance(heads, tuple | list) else [heads],
        num_heads={part.qkv: part.num_heads for part in attention},
    )
    pruner.step()
    for part in attention:
        part.num_heads = pruner.num_heads[part.qkv]
        if hasattr(part.qkv, "out_features"):
            part.head_dim = part.qkv.out_features // 3 // part.num_heads
    return module, {"version": tp.__version__}


def parameters(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


TOOLS = {"shoestring": shoestring, "torch_pruning": torch_pruning}
