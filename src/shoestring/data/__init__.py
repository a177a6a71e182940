"""Images from any source, decoded once into one array of uint8 pixels on disk."""

from shoestring.data.decode import decode_file
from shoestring.data.images import Dataset, Images
from shoestring.data.loading import load, load_split, load_unlabeled, source_key
from shoestring.data.memory import from_arrays, in_memory

__all__ = [
    "Dataset",
    "Images",
    "decode_file",
    "from_arrays",
    "in_memory",
    "load",
    "load_split",
    "load_unlabeled",
    "source_key",
]
