"""Engine processes: how they start, work, age and end."""
