"""The values inside a model, stage by stage."""
