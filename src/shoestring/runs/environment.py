"""Software versions and hardware of a run."""

from __future__ import annotations

import platform
import time
from typing import Any

from shoestring.runtime.context import Context


def environment(context: Context) -> dict[str, Any]:
    """Return versions and device, for run.json."""
    import torch

    from shoestring import __version__

    return {
        "shoestring": __version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": torch.cuda.get_device_name(context.device) if context.device.startswith("cuda") else context.device,
        "threads": torch.get_num_threads(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }
