"""Growth schedules, one file each."""
