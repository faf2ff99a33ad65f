"""Many exports at once: a matrix of cells, run on dask, kept as rows, shown and compared."""
