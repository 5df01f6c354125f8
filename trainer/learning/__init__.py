"""Training: the state of a run and the stages that change it."""
