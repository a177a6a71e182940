"""Select a subset of the images as planned."""

from __future__ import annotations

from pathlib import Path

from shoestring.budget import Budget
from shoestring.config.recipe import Select
from shoestring.data import Images
from shoestring.execute.proxy import pool_of
from shoestring.planning.proxy import Proxy
from shoestring.runtime.context import Context
from shoestring.selection import NO_INDICES, Strategy, Subset, select_subset
from shoestring.selection.exclusions import find_excluded
from shoestring.selection.select import check_size


def select(
    images: Images,
    settings: Select,
    *,
    budget: Budget,
    context: Context,
    proxy: Proxy | None = None,
    already: Subset | None = None,
) -> Subset:
    """Select a subset of the images; the method of the settings is not "auto". See `shoestring.select`."""
    assert settings.examples is not None
    method = settings.method
    pool = pool_of(images, settings, budget, context, proxy)
    first = NO_INDICES if already is None else already.indices_for(images)
    check_size(images, settings.examples, balance=settings.balance, already=already)  # before a proxy is trained
    subset = select_subset(
        pool,
        settings.examples,
        Strategy(method, settings.options, settings.within),
        balance=settings.balance,
        already=first,
        excluded=find_excluded(
            pool, first, duplicates=settings.drop_duplicates, label_errors=settings.drop_suspects, log=context.log
        ),
        seed=context.seed,
    )
    if settings.signals is not None and not Path(settings.signals).exists():
        context.log(f"{method} uses no training signals: {settings.signals} is not written")
    if settings.requests_proxy and not pool.signals_used:
        context.log(f"{method} uses no training signals: no proxy was trained")
    if settings.features is not None and not pool.features_used:
        context.log(f"{method} compares no images: {settings.features} is not used")
    return subset
