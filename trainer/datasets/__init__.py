"""Labelled image datasets on disk: the readers, the writers, and what they share."""
