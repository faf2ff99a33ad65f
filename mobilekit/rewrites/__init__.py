"""Named rewrites of a model, each with a stated exactness and a proof that is run at every use."""
