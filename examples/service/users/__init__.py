"""The users service: a model, a repository, a cache and the handlers."""
