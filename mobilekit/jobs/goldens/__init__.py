"""Golden cases for the tests of an app: pictures, tensors, what files give for them, and how far off may be right."""
