"""What is minimised: distances between distributions of images, and the score-function loss (paper, section 3.2)."""
