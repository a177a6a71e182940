"""How heads other than a linear layer are fitted to the features of a frozen network, one file each."""
