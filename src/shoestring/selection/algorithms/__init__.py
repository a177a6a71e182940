"""Building blocks of selection methods: similarities, greedy loops, nearest neighbors, clustering, rows of files."""
