"""A worker: the process that holds the models and the face detector, and the small processes that decode for it."""
