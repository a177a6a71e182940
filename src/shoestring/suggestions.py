"""Suggestions for unknown names: another library's term, or a typing error."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

MIN_SIMILARITY = 0.75  # of a suggested name; below, the guess is more often wrong than right

# Terms of other libraries for our settings, flags, verbs and methods. Of the names that a term maps to, the first one
# that is known in the context is suggested. A flag may include its value.
ALIASES: dict[str, tuple[str, ...]] = {
    # training
    "lr": ("learning_rate",),
    "wd": ("weight_decay",),
    "decay": ("weight_decay",),
    "optim": ("optimizer",),
    "opt": ("optimizer",),
    "scheduler": ("schedule",),
    "lr_scheduler": ("schedule",),
    "arch": ("model",),
    "architecture": ("model",),
    "backbone": ("model",),
    "net": ("model",),
    "network": ("model",),
    "pretrained": ("weights=pretrained",),
    "checkpoint": ("weights",),
    "batch": ("batch_size",),
    "bs": ("batch_size",),
    "b": ("batch_size",),
    "smoothing": ("label_smoothing",),
    "drop": ("dropout",),
    "drop_rate": ("dropout",),
    "augment": ("strength",),
    "augmentation": ("strength",),
    "aug": ("strength",),
    "hflip": ("flip",),
    "mirror": ("flip",),
    "erase": ("cutout",),
    "random_erasing": ("cutout",),
    "color_jitter": ("jitter",),
    "rotation": ("rotate",),
    "swa": ("ema",),
    "average": ("ema",),
    "view": ("tta",),
    "early_stopping": ("patience",),
    "early_stop": ("patience",),
    "amp": ("precision=auto",),
    "fp16": ("precision=float16", "float16"),
    "half": ("precision=float16", "float16"),
    "bf16": ("precision=bfloat16", "bfloat16"),
    "dtype": ("precision",),
    "fp32": ("precision=float32", "float32"),
    "adam": ("adamw",),
    "nesterov": ("sgd",),
    "momentum": ("optimizer", "sgd"),
    # budget
    "num_epochs": ("epochs",),
    "n_epochs": ("epochs",),
    "max_epochs": ("epochs",),
    "passes": ("epochs",),
    "iterations": ("epochs",),
    "steps": ("epochs",),
    "minutes": ("time",),
    "seconds": ("time",),
    "hours": ("time",),
    "duration": ("time",),
    "budget": ("time",),
    "timeout": ("time",),
    "deadline": ("time",),
    "max_time": ("time",),
    # images
    "n": ("examples",),
    "num_examples": ("examples",),
    "samples": ("examples",),
    "num_samples": ("examples",),
    "n_samples": ("examples",),
    "images": ("examples",),
    "subset_size": ("examples",),
    "size": ("resolution", "macs"),
    "img_size": ("resolution",),
    "imgsz": ("resolution",),
    "image_size": ("resolution",),
    "input_size": ("resolution",),
    "resize": ("fit", "resolution"),
    "resize_mode": ("fit",),
    "letterbox": ("fit=pad",),
    "crop": ("fit=crop",),
    "crop_mode": ("fit",),
    "aspect_ratio": ("fit",),
    "val": ("validation",),
    "valid": ("validation",),
    "val_split": ("validation",),
    "val_fraction": ("validation",),
    "validation_split": ("validation",),
    "ignore_errors": ("skip_bad",),
    "skip_broken": ("skip_bad",),
    "stratify": ("balance",),
    "method": ("select",),
    "csv": ("labels",),
    "annotations": ("labels",),
    "metadata": ("labels",),
    "groups": ("group_column",),
    # machine
    "gpu": ("device=cuda", "cuda"),
    "gpus": ("device=cuda",),
    "cuda": ("device=cuda",),
    "cpu": ("device=cpu",),
    "mps": ("device=mps",),
    "accelerator": ("device",),
    "workers": ("threads",),
    "num_workers": ("threads",),
    "jobs": ("threads",),
    "j": ("threads",),
    "cores": ("threads",),
    "num_threads": ("threads",),
    "vram": ("memory",),
    "random_state": ("seed",),
    "random_seed": ("seed",),
    # size
    "sparsity": ("macs",),
    "flop": ("flops", "macs"),
    "compression": ("macs",),
    "parameters": ("params",),
    "num_params": ("params",),
    # files and output
    "output": ("out",),
    "output_dir": ("out",),
    "outdir": ("out",),
    "o": ("out",),
    "save_dir": ("out",),
    "project": ("out",),
    "name": ("out",),
    "config": ("recipe",),
    "cfg": ("recipe",),
    "yaml": ("recipe",),
    "force": ("overwrite",),
    "exist_ok": ("overwrite",),
    "silent": ("quiet",),
    "verbose": ("debug",),
    "v": ("debug",),
    "traceback": ("debug",),
    "topk": ("top",),
    "top_k": ("top",),
    "k": ("top",),
    "data": ("on",),
    "dataset": ("on", "data"),
    "data_dir": ("on", "data"),
    # verbs
    "eval": ("evaluate",),
    "test": ("evaluate",),
    "validate": ("evaluate",),
    "val_run": ("evaluate",),
    "score": ("evaluate",),
    "infer": ("predict",),
    "inference": ("predict",),
    "classify": ("predict",),
    "fit": ("train",),
    "finetune": ("train",),
    "learn": ("train",),
    "choose": ("select",),
    "sample": ("select",),
    "subset": ("select", "subset"),
    "shrink": ("prune",),
    "compress": ("prune",),
    "cut": ("prune",),
    "ls": ("list",),
    "methods": ("list",),
    "doctor": ("check",),
    "info": ("check",),
    "show": ("report",),
    "results": ("report",),
    # networks for the name of a family; other names are looked up in timm
    "resnet": ("resnet20", "timm:resnet18"),
    "vgg": ("vgg16", "timm:vgg16"),
    "mobilenet": ("timm:mobilenetv2_100",),
    "mobilenet_v2": ("timm:mobilenetv2_100",),
    "mobilenetv2": ("timm:mobilenetv2_100",),
    "mobilenetv3": ("timm:mobilenetv3_small_100",),
    "mobilenet_v3_small": ("timm:mobilenetv3_small_100",),
    "mobilenet_v3_large": ("timm:mobilenetv3_large_100",),
    "efficientnet": ("timm:efficientnet_b0",),
    "convnext": ("timm:convnext_atto",),
    "vit": ("timm:vit_tiny_patch16_224",),
    "vit_tiny": ("timm:vit_tiny_patch16_224",),
    "vit_small": ("timm:vit_small_patch16_224",),
    "vit_base": ("timm:vit_base_patch16_224",),
    "vit_b_16": ("timm:vit_base_patch16_224",),
    "vit_b_32": ("timm:vit_base_patch32_224",),
    "vit_l_16": ("timm:vit_large_patch16_224",),
    "deit": ("timm:deit_tiny_patch16_224",),
    "swin": ("timm:swin_tiny_patch4_window7_224",),
    "regnet": ("timm:regnety_002",),
    "densenet": ("timm:densenet121",),
    "cnn": ("simplecnn",),
    # methods
    "kcenter": ("k_center",),
    "coreset": ("k_center",),
    "l1": ("magnitude",),
    "l1_norm": ("magnitude",),
    "uniform": ("random",),
}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is probably meant by `name`, or None if none is similar.

    Ignores case, leading dashes, and the difference between `-` and `_`.
    """
    plain = {_plain(entry): entry for entry in known}
    typed = _plain(name)
    if typed in plain:
        return plain[typed]
    for alias in ALIASES.get(typed, ()):
        word, equals, value = alias.partition("=")
        if _plain(word) in plain:
            return plain[_plain(word)] + (f" {value}" if equals else "")
    near = difflib.get_close_matches(typed, plain, n=1, cutoff=MIN_SIMILARITY)
    return plain[near[0]] if near else None


def similarity(name: str, other: str) -> float:
    """Return the similarity of two names, from 0 to 1 (Ratcliff and Obershelp's measure)."""
    return difflib.SequenceMatcher(None, _plain(name), _plain(other)).ratio()


def aliases(name: str) -> tuple[str, ...]:
    """Return the names that a term of another library maps to, known or not."""
    return ALIASES.get(_plain(name), ())


def _plain(name: str) -> str:
    return name.lstrip("-").replace("-", "_").casefold()
