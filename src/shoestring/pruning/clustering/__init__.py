"""Clusters of similar filters: shared, merged, or pulled together by training."""
