"""shoestring's own networks, one file per family."""
