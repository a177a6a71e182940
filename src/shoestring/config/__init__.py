"""What a run is told: recipes, the values in them, and the names of methods."""
