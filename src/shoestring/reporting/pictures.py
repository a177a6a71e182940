"""Pictures on a page: plain records that `runs` collects and the templates show."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Picture:
    """An image with what is written below it; `source` is the `src` of an HTML image, `name` the name of its file.

    `note` is a remark in a box, such as "label may be wrong".
    """

    source: str
    name: str
    caption: str
    note: str = ""


@dataclass(frozen=True)
class Pair:
    """Two pictures side by side, with the reason; the second may be missing."""

    first: Picture
    second: Picture | None
    text: str = ""


@dataclass(frozen=True)
class Gallery:
    """The pictures of a run: all lists are empty where the run has none.

    `chosen` are selected images beside the nearest ones that were left out, by class; `cells` are examples of the cells
    of the confusion matrix, by (class, predicted class); `mistakes` are the most confident ones; `duplicates` are test
    images with a near duplicate in training. `looks` are a few of the mistakes, each beside its class activation maps;
    `augmented` are a few training images, each beside what the network sees of it.
    `notes` say how they were found, and what is not shown; `late` names the parts that there was no time for.
    """

    chosen: dict[str, list[Pair]]
    mistakes: list[Picture]
    cells: dict[tuple[int, int], list[Picture]]
    duplicates: list[Pair]
    notes: dict[str, str]
    looks: list[list[Picture]] = field(default_factory=list)
    augmented: list[list[Picture]] = field(default_factory=list)
    late: tuple[str, ...] = ()

    @classmethod
    def empty(cls) -> Gallery:
        """Return a gallery without pictures."""
        return cls({}, [], {}, [], {})
