"""What selection methods share: similarities, greedy engines, neighbours, clusters, ties, work on large files."""
