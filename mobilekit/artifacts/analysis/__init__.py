"""What is told of files, and cut out of them, once they are made: no export needs it."""
