"""Training: `fit`, what it is asked to learn, how well that was learnt, and data sets to try it on."""
