"""What handlers, components and hooks ask for in their signatures, and where each value comes from."""
