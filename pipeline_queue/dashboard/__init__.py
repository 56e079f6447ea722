"""The pages for sweeps, runs and workers that are added to Flower, with a JSON API beside them."""
