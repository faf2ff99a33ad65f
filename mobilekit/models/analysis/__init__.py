"""What is told of models: their size and work. No export needs it."""
