"""Engine processes: starting, queueing, recycling and replacing them."""
