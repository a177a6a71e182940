"""Every answer that is found before training: which method, network, width and growth, and what they cost."""
