"""Planning: resolves every "auto" before training (method, network, width, growth, ...) and measures step times."""
