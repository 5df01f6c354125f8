"""Whether a request may be worked on, before any work is done."""
